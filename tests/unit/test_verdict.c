/* SPDX-License-Identifier: Apache-2.0 */
/* What the store keeps of a job that is over: encoded and back, word for word; and no bytes that are believed. */
#include "server/jobs/verdict.h"

#include "server/api/wording.h"

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct wire_limits limits = {
    .memory_bytes = 512 << 20, .processes = 64, .timeout_max_ms = 300000, .output_bytes = 4096, .result_bytes = 4096
};
static const struct figures figures = { .pid = 7,
                                        .queue_id = 0x7fffffff,
                                        .build = "0.2.0",
                                        .run_us = 1,
                                        .queue_us = INT64_MAX,
                                        .total_us = 12345678,
                                        .queue_length = 3,
                                        .waited_for = 1 };
static const struct store_bytes client_id = { "mine \"\xc3\xa9\x01", 9 };

static const enum outcome_kind kinds[] = {
#define OUTCOME(name, status, reason, word) OUTCOME_##name,
#include "base/outcome.def"
};

/* Everything in it, and texts of any bytes. */
static void make(struct verdict *ret, enum outcome_kind kind)
{
    struct outcome outcome;

    outcome_init(&outcome, &limits);
    outcome.kind = kind;
    outcome.exit_code = kind == OUTCOME_OK ? 0 : 137;
    outcome.signal = 9;
    outcome.timeout_ms = 30000;
    outcome.line = 4;
    buf_adds(&outcome.result, "{\"a\": [1, 10e30, \"\\u00e9\"]}");
    buf_add(&outcome.error, "Traceback\n\0\xff: \"x\"", 17);
    buf_adds(&outcome.name, "ValueError");
    buf_adds(&outcome.value, "\xc3\xa9");
    buf_adds(&outcome.hint, "do without");
    buf_adds(&outcome.out.kept, "printed\n\\");
    outcome.out.total = 9;
    outcome.err.kept.max = 100;
    for (int i = 0; i < 10; i++)
        buf_adds(&outcome.err.kept, "\x7f \xc2\x85\xff\xe2\x82");
    outcome.err.total = 1LL << 40;
    verdict_take(ret, &outcome);
    ret->figures = figures;
    assert_int_equal(outcome.result.len + outcome.out.kept.len, 0);
}

static void word(const struct verdict *v, struct buf *out)
{
    buf_init(out, 1 << 20);
    api_wordings[API_EXECUTE].word(v, "01a20dd0-d7be-7fdd-b408-489266bfe471", client_id, out);
}

static void encode(const struct verdict *v, struct buf *out)
{
    buf_init(out, 1 << 20);
    verdict_encode(v, out);
}

/* The reply is the same before and after, is JSON, and is no longer than was said. */
static void test_the_same_words(void **state)
{
    (void) state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        struct verdict before, after;
        struct buf bytes, again, first, second;
        make(&before, kinds[i]);
        encode(&before, &bytes);
        assert_true((int64_t) bytes.len < verdict_max(&limits));
        assert_int_equal(verdict_decode(bytes.data, bytes.len, &after), 0);
        word(&before, &first);
        word(&after, &second);
        assert_int_equal(first.len, second.len);
        assert_memory_equal(first.data, second.data, first.len);
        assert_true((int64_t) first.len <= wording_longest(&before, client_id));
        json_t *tree = json_loadb(first.data, first.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
        assert_int_equal(json_integer_value(json_object_get(tree, "code")), outcome_status(&before.outcome));
        assert_string_equal(json_string_value(json_object_get(tree, "build_number")), "0.2.0");
        json_decref(tree);
        encode(&after, &again);
        assert_int_equal(again.len, bytes.len);
        assert_memory_equal(again.data, bytes.data, bytes.len);
        verdict_free(&before);
        verdict_free(&after);
        buf_free(&bytes);
        buf_free(&again);
        buf_free(&first);
        buf_free(&second);
    }
}

/* In a block of exactly its size, for AddressSanitizer.  What is no verdict is told as one that can't be read. */
static int decode(const char *bytes, size_t n)
{
    char *copy = malloc(n ? n : 1);
    struct verdict v;
    struct buf reply;

    memcpy(copy, bytes, n);
    int err = verdict_decode(copy, n, &v);
    free(copy);
    word(&v, &reply);
    if (err)
        assert_non_null(memmem(reply.data, reply.len, "is damaged and can't be read", 28));
    assert_true(err == 0 || err == -EBADMSG);
    buf_free(&reply);
    verdict_free(&v);
    return err;
}

static void test_hostile_bytes(void **state)
{
    static const unsigned char values[] = { 0x00, 0x01, 0x7f, 0x80, 0xff };
    struct verdict v;
    struct buf bytes;

    (void) state;
    make(&v, OUTCOME_EXCEPTION);
    encode(&v, &bytes);
    for (size_t n = 0; n < bytes.len; n++)
        assert_int_equal(decode(bytes.data, n), -EBADMSG);
    buf_addc(&bytes, 'x');
    assert_int_equal(decode(bytes.data, bytes.len), -EBADMSG);
    bytes.len--;
    for (size_t at = 0; at < bytes.len; at++) {
        char was = bytes.data[at];
        for (size_t i = 0; i < sizeof(values); i++) {
            bytes.data[at] = (char) values[i];
            decode(bytes.data, bytes.len);
        }
        bytes.data[at] = was;
    }
    assert_int_equal(decode(bytes.data, bytes.len), 0);
    verdict_free(&v);
    buf_free(&bytes);
}

/* A finished reply of an older store is told as it is; what no version knows is told to be damaged. */
static void test_forms(void **state)
{
    struct buf old, bytes;
    struct verdict v;
    struct store_record record = { .form = FORM_REPLY, .client_id = client_id };
    struct kept kept;

    (void) state;
    kept_take(&kept, &record);
    assert_null(kept_word(&kept, api_wordings));
    kept_free(&kept);

    buf_init(&old, 100);
    buf_adds(&old, "{\"code\": 200, \"build_number\": 1}");
    record.blob = blob_new(&old);
    kept_take(&kept, &record);
    struct blob *reply = kept_word(&kept, api_wordings);
    assert_ptr_equal(reply, record.blob);
    blob_unref(reply);
    kept_free(&kept);
    blob_unref(record.blob);

    make(&v, OUTCOME_OK);
    encode(&v, &bytes);
    record.blob = blob_new(&bytes);
    for (record.form = FORM_VERDICT; record.form <= FORM_VERDICT + 1; record.form++) {
        kept_take(&kept, &record);
        reply = kept_word(&kept, api_wordings);
        bool damaged = memmem(blob_bytes(reply), blob_len(reply), "can't be read", 13) != NULL;
        assert_int_equal(damaged, record.form != FORM_VERDICT);
        blob_unref(reply);
        kept_free(&kept);
    }
    blob_unref(record.blob);
    verdict_free(&v);
}

int main(void)
{
    static const struct CMUnitTest tests[] = { cmocka_unit_test(test_the_same_words),
                                               cmocka_unit_test(test_hostile_bytes), cmocka_unit_test(test_forms) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
