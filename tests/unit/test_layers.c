/* SPDX-License-Identifier: Apache-2.0 */
/* isolation.require: what the words mean, and that no other words mean anything. */
#include "box/layers.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const uint32_t everything = LAYER_BIT(LAYERS) - 1;

static uint32_t always(void)
{
    uint32_t bits = 0;
    for (int i = 0; i < LAYERS; i++)
        bits |= layers[i].optional ? 0 : LAYER_BIT(i);
    return bits;
}

static uint32_t parse(const char *text)
{
    uint32_t required = 0;
    struct buf error;

    buf_init(&error, 4096);
    assert_int_equal(layers_parse(text, &required, &error), 0);
    assert_int_equal(error.len, 0);
    buf_free(&error);
    return required;
}

static void refuse(const char *text, const char *sentence)
{
    uint32_t required = 42;
    struct buf error;

    buf_init(&error, 4096);
    assert_int_equal(layers_parse(text, &required, &error), -EINVAL);
    assert_int_equal(required, 42);
    buf_addc(&error, '\0');
    assert_non_null(strstr(error.data, sentence));
    buf_free(&error);
}

static void test_all(void **state)
{
    (void) state;
    assert_int_equal(parse("all"), everything);
    assert_int_equal(parse("all -ids"), everything & ~LAYER_BIT(LAYER_IDS));
    assert_int_equal(parse(" all,-ids,\t-cgroup "), everything & ~(LAYER_BIT(LAYER_IDS) | LAYER_BIT(LAYER_CGROUP)));
    assert_int_equal(parse("all -ids ids"), everything);
    assert_int_equal(parse("supported"), everything & ~layers_too_new());
    assert_int_equal(parse("supported mdwe") & LAYER_BIT(LAYER_MDWE), LAYER_BIT(LAYER_MDWE));
    assert_int_equal(parse("all -landlock"), everything & ~LAYER_BIT(LAYER_LANDLOCK));
}

static void test_names(void **state)
{
    (void) state;
    assert_int_equal(parse("seccomp"), always());
    assert_int_equal(parse("cgroup mdwe"), always() | LAYER_BIT(LAYER_CGROUP) | LAYER_BIT(LAYER_MDWE));
    /* One name is the beginning of another. */
    assert_int_equal(parse("landlock"), always() | LAYER_BIT(LAYER_LANDLOCK));
    assert_int_equal(parse("landlock_net"), always() | LAYER_BIT(LAYER_LANDLOCK_NET));
    for (int i = 0; i < LAYERS; i++)
        assert_int_equal(parse(layers[i].word), always() | LAYER_BIT(i));
}

static void test_refusals(void **state)
{
    (void) state;
    refuse("", "names no layer");
    refuse(" ,\t", "names no layer");
    refuse("al", "'al' is not a layer");
    refuse("alls", "'alls' is not a layer");
    refuse("all landloc", "'landloc' is not a layer");
    refuse("all -", "'-' is not a layer");
    refuse("all -all", "'-all' is not a layer");
    refuse("all --ids", "'--ids' is not a layer");
    refuse("all;", "'all;' is not a layer");
    refuse("-ids", "takes away from nothing");
    refuse("-ids all", "takes away from nothing");
    for (int i = 0; i < LAYERS; i++) {
        char text[64];
        snprintf(text, sizeof(text), "all -%s", layers[i].word);
        if (!layers[i].optional)
            refuse(text, "can't be left out");
    }
}

static void test_a_refusal_lists_the_layers(void **state)
{
    (void) state;
    for (int i = 0; i < LAYERS; i++)
        refuse("nothing", layers[i].word);
}

static void test_table(void **state)
{
    (void) state;
    for (int i = 0; i < LAYERS; i++) {
        assert_true(strlen(layers[i].word) > 0
                    && strspn(layers[i].word, "abcdefghijklmnopqrstuvwxyz_") == strlen(layers[i].word));
        assert_true(strlen(layers[i].what) > 0 && strlen(layers[i].change) > 0);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(layers[i].word, layers[j].word);
    }
}

/* Landlock's three come with rising ABIs. */
static void test_probe(void **state)
{
    (void) state;
    int files = layers_probe(LAYER_LANDLOCK), net = layers_probe(LAYER_LANDLOCK_NET);
    int scopes = layers_probe(LAYER_LANDLOCK_SCOPES);

    assert_true(files <= 0 && net <= 0 && scopes <= 0 && layers_probe(LAYER_MDWE) <= 0);
    assert_true(scopes != 0 || net == 0);
    assert_true(net != 0 || files == 0);
    assert_int_equal(layers_probe(LAYER_SECCOMP), 0);
    assert_int_equal(layers_probe(LAYER_CGROUP), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all),      cmocka_unit_test(test_names),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_a_refusal_lists_the_layers),
        cmocka_unit_test(test_table),    cmocka_unit_test(test_probe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
