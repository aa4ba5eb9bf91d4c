/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures: the vector of the Standard Webhooks libraries, rotation, and secrets that are none. */
#include "courier/sign.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#define SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define ID "msg_p5jXN8AQM9LWM0D4loKWxJek"
#define SIGNATURE "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

enum { TIMESTAMP = 1614265330 };

static void add_secret(struct courier_conf *conf, const char *text)
{
    unsigned i = conf->n_secrets++;
    assert_int_equal(sign_secret(text, conf->secrets[i].key, &conf->secrets[i].len), 0);
}

static void check(const struct courier_conf *conf, const char *body, const char *wanted)
{
    struct buf out;

    buf_init(&out, 1000);
    sign_webhook(conf, ID, TIMESTAMP, body, strlen(body), &out);
    buf_addc(&out, '\0');
    assert_string_equal(out.data, wanted);
    buf_free(&out);
}

static void test_vector(void **state)
{
    struct courier_conf conf = { 0 };

    (void) state;
    add_secret(&conf, SECRET);
    assert_int_equal(conf.secrets[0].len, 24);
    check(&conf, "{\"test\": 2432232314}", SIGNATURE);
}

/* An empty body is signed too: HMAC-SHA256 of "msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330." */
static void test_rotation(void **state)
{
    struct courier_conf conf = { 0 };
    struct buf out;

    (void) state;
    add_secret(&conf, SECRET);
    add_secret(&conf, "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==");
    assert_int_equal(conf.secrets[1].len, 64);
    buf_init(&out, 1000);
    sign_webhook(&conf, ID, TIMESTAMP, "{\"test\": 2432232314}", 20, &out);
    buf_addc(&out, '\0');
    const char *second = strchr(out.data, ' ');
    assert_non_null(second);
    assert_memory_equal(out.data, SIGNATURE, strlen(SIGNATURE));
    assert_int_equal(second - out.data, strlen(SIGNATURE));
    assert_memory_equal(second, " v1,", 4);
    assert_int_equal(strlen(second + 1), strlen(SIGNATURE));
    assert_string_not_equal(second + 1, SIGNATURE);
    buf_free(&out);
    conf.n_secrets = 0;
    check(&conf, "x", "");
}

static void test_secrets(void **state)
{
    static const char *const bad[] = {
        "",
        "whsec_",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS=",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2Lal-_w",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw ",
        "whsec_ MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRY=",
        "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0A=",
    };
    static const unsigned char zero[SIGN_KEY_MAX];
    unsigned char key[SIGN_KEY_MAX];
    unsigned len = 77;

    (void) state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        memset(key, 1, sizeof(key));
        if (sign_secret(bad[i], key, &len) != -EINVAL)
            fail_msg("'%s' was taken", bad[i]);
        assert_memory_equal(key, zero, sizeof(key));
        assert_int_equal(len, 77);
    }
    /* 25 bytes, padded and not */
    assert_int_equal(sign_secret("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGA==", key, &len), 0);
    assert_int_equal(len, 25);
    assert_int_equal(sign_secret("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGA", key, &len), 0);
    assert_int_equal(len, 25);
    assert_int_equal(key[24], 24);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector),
        cmocka_unit_test(test_rotation),
        cmocka_unit_test(test_secrets),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
