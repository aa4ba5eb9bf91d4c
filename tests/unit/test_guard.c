/* SPDX-License-Identifier: Apache-2.0 */
/* Where webhooks may go: every block of addresses at both of its ends and just outside, every notation of an
 * address in a URL, and what the operator's list allows and what it does not. */
#include "base/guard.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

static struct guard_allow *parse(const char *text)
{
    struct guard_allow *allow = NULL;
    struct buf error;

    buf_init(&error, 1000);
    if (guard_allow_parse(text, &allow, &error) < 0)
        fail_msg("allow list '%s': %.*s", text, (int) error.len, error.data);
    assert_int_equal(error.len, 0);
    return allow;
}

static int check_address(const struct guard_allow *allow, const char *host, const char *text)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
    bool is_v4 = inet_pton(AF_INET, text, &v4.sin_addr) == 1;
    struct buf error;

    if (!is_v4 && inet_pton(AF_INET6, text, &v6.sin6_addr) != 1)
        fail_msg("'%s' is no address", text);
    buf_init(&error, 255);
    int err = guard_address(allow, host, is_v4 ? (void *) &v4 : (void *) &v6, &error);
    if (err != 0 && err != -EACCES)
        fail_msg("%s: %d", text, err);
    if (!err != !error.len || error.full)
        fail_msg("%s: %d, and the sentence is '%.*s'", text, err, (int) error.len, error.data);
    buf_free(&error);
    return err;
}

static const char *const public[] = {
    "1.1.1.1",      "9.255.255.255",    "11.0.0.0",      "100.63.255.255",  "100.128.0.0",    "126.255.255.255",
    "128.0.0.0",    "168.63.129.15",    "168.63.129.17", "169.253.255.255", "169.255.0.0",    "172.15.255.255",
    "172.32.0.0",   "191.255.255.255",  "192.0.1.0",     "192.0.1.255",     "192.0.3.0",      "192.88.98.255",
    "192.88.100.0", "192.167.255.255",  "192.169.0.0",   "198.17.255.255",  "198.20.0.0",     "198.51.99.255",
    "198.51.101.0", "203.0.112.255",    "203.0.114.0",   "223.255.255.255", "::ffff:8.8.8.8", "2000::1",
    "2001:200::1",  "2001:db7:ffff::1", "2001:db9::1",   "2001:ffff::1",    "2003::1",        "2606:4700::1111",
    "3ffe:ffff::1", "3fff:1000::1",
};

static const char *const private[] = {
    "10.0.0.0",        "10.255.255.255",   "100.64.0.0",
    "100.127.255.255", "127.0.0.0",        "127.0.0.1",
    "127.255.255.255", "172.16.0.0",       "172.31.255.255",
    "192.168.0.0",     "192.168.255.255",  "::1",
    "fc00::",          "fd00::1",          "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "::ffff:10.0.0.1", "::ffff:127.0.0.1", "::ffff:192.168.1.1",
};

static const char *const strict[] = {
    "0.0.0.0",
    "0.255.255.255",
    "100.100.100.200",
    "168.63.129.16",
    "169.254.0.0",
    "169.254.169.254",
    "169.254.170.2",
    "169.254.255.255",
    "192.0.0.0",
    "192.0.0.192",
    "192.0.0.255",
    "192.0.2.0",
    "192.0.2.255",
    "192.88.99.1",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.0",
    "198.51.100.255",
    "203.0.113.0",
    "203.0.113.255",
    "224.0.0.0",
    "239.255.255.255",
    "240.0.0.0",
    "255.255.255.255",
    "::",
    "::2",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:169.254.169.254",
    "::ffff:0.0.0.0",
    "::ffff:0:7f00:1",
    "64:ff9b::8.8.8.8",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::1",
    "100::1",
    "1fff:ffff::1",
    "2001::1",
    "2001:1ff::1",
    "2001:db8::1",
    "2002::1",
    "2002:a00:1::",
    "2002:808:808::",
    "3fff::1",
    "3fff:fff::1",
    "4000::1",
    "5f00::1",
    "8000::1",
    "fbff::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe00::1",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "ff00::1",
    "ff02::1",
};

#define COUNT(list) (sizeof(list) / sizeof(*(list)))

static void check_all(const char *list, const char *const *addresses, size_t n, int verdict)
{
    struct guard_allow *allow = parse(list);

    for (size_t i = 0; i < n; i++)
        if (check_address(allow, "host.example", addresses[i]) != verdict)
            fail_msg("%s with '%s' is not %d", addresses[i], list, verdict);
    guard_allow_free(allow);
}

static void test_blocks(void **state)
{
    /* Neither a name that is not this one nor the whole of the address space opens what is reserved. */
    static const char all[] = "private host.example 0.0.0.0/0 ::/0";

    (void) state;
    check_all("", public, COUNT(public), 0);
    check_all("", private, COUNT(private), -EACCES);
    check_all("", strict, COUNT(strict), -EACCES);
    check_all("private", private, COUNT(private), 0);
    check_all("host.example", private, COUNT(private), 0);
    check_all("other.example", private, COUNT(private), -EACCES);
    check_all("0.0.0.0/0 ::/0", private, COUNT(private), 0);
    check_all(all, public, COUNT(public), 0);
    check_all(all, strict, COUNT(strict), -EACCES);
}

static void test_networks(void **state)
{
    static const struct {
        const char *list, *address;
        int verdict;
    } cases[] = {
        { "10.1.0.0/16", "10.1.255.255", 0 },
        { "10.1.0.0/16", "10.2.0.0", -EACCES },
        { "10.1.0.0/16", "::ffff:10.1.2.3", 0 },
        { "10.1.2.3", "10.1.2.3", 0 },
        { "10.1.2.3", "10.1.2.2", -EACCES },
        { "10.128.0.0/9", "10.127.255.255", -EACCES },
        { "10.128.0.0/9", "10.128.0.0", 0 },
        { "192.168.1.0/31,\n\t192.168.2.0/24", "192.168.2.9", 0 },
        { "192.168.1.0/31", "192.168.1.1", 0 },
        { "192.168.1.0/31", "192.168.1.2", -EACCES },
        { "fd00:1::/32", "fd00:1:ffff::1", 0 },
        { "fd00:1::/32", "fd00:2::1", -EACCES },
        { "fd00::/8", "fd00:ec2::254", -EACCES },
        { "fd00:ec2::254", "fd00:ec2::254", 0 },
        { "::1", "::1", 0 },
        { "::1", "127.0.0.1", -EACCES },
        { "169.254.0.0/16", "169.254.169.254", 0 },
        { "169.254.169.254", "169.254.169.254", 0 },
        { "169.254.169.254", "169.254.169.253", -EACCES },
        { "168.0.0.0/6", "169.254.169.254", -EACCES },
        { "100.64.0.0/10", "100.100.100.200", -EACCES },
        { "fe80::/10", "fe80::1", 0 },
        /* What carries IPv4 is judged twice. */
        { "64:ff9b::/96", "64:ff9b::8.8.8.8", 0 },
        { "64:ff9b::/96", "64:ff9b::10.0.0.1", -EACCES },
        { "64:ff9b::/96", "64:ff9b::169.254.169.254", -EACCES },
        { "64:ff9b::/96 private", "64:ff9b::10.0.0.1", 0 },
        { "64:ff9b::/96 10.0.0.1", "64:ff9b::10.0.0.1", 0 },
        { "2002::/16", "2002:808:808::1", 0 },
        { "2002::/16", "2002:a00:1::1", -EACCES },
        { "2002::/16 10.0.0.0/8", "2002:a00:1::1", 0 },
        { "::/96", "::8.8.8.8", 0 },
        { "::/96", "::127.0.0.1", -EACCES },
    };

    (void) state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct guard_allow *allow = parse(cases[i].list);
        if (check_address(allow, "host.example", cases[i].address) != cases[i].verdict)
            fail_msg("%s with '%s' is not %d", cases[i].address, cases[i].list, cases[i].verdict);
        guard_allow_free(allow);
    }
}

static void test_family(void **state)
{
    const struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/run/x" };
    struct guard_allow *allow = parse("private");
    struct buf error;

    (void) state;
    buf_init(&error, 255);
    assert_int_equal(guard_address(allow, "h", (const struct sockaddr *) &address, &error), -EACCES);
    assert_true(error.len > 0);
    buf_free(&error);
    guard_allow_free(allow);
}

/* Public addresses that are the host's own: by name, address or network, and by nothing else.  What is private or reserved
 * guard_address() has judged. */
static void test_own(void **state)
{
    static const struct {
        const char *list, *host, *address;
        int verdict;
    } cases[] = {
        { "", "h", "93.184.215.14", -EACCES },
        { "private", "h", "93.184.215.14", -EACCES },
        { "private", "h", "::ffff:93.184.215.14", -EACCES },
        { "private", "h", "2606:4700::1111", -EACCES },
        { "93.184.215.15 g", "h", "93.184.215.14", -EACCES },
        { "93.184.215.14", "h", "93.184.215.14", 0 },
        { "93.184.215.14", "h", "::ffff:93.184.215.14", 0 },
        { "93.184.0.0/16", "h", "93.184.215.14", 0 },
        { "0.0.0.0/0", "h", "93.184.215.14", 0 },
        { "0.0.0.0/0", "h", "2606:4700::1111", -EACCES },
        { "2606:4700::/32", "h", "2606:4700::1111", 0 },
        { "h", "h", "93.184.215.14", 0 },
        { "private", "h", "127.0.0.1", 0 },
        { "private", "h", "10.0.0.1", 0 },
    };

    (void) state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct guard_allow *allow = parse(cases[i].list);
        struct sockaddr_in v4 = { .sin_family = AF_INET };
        struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
        bool is_v4 = inet_pton(AF_INET, cases[i].address, &v4.sin_addr) == 1;
        struct buf error;
        buf_init(&error, 255);
        assert_true(is_v4 || inet_pton(AF_INET6, cases[i].address, &v6.sin6_addr) == 1);
        int err = guard_own(allow, cases[i].host, is_v4 ? (void *) &v4 : (void *) &v6, &error);
        if (err != cases[i].verdict || !err != !error.len || error.full)
            fail_msg("%s with '%s' is %d: '%.*s'", cases[i].address, cases[i].list, err, (int) error.len, error.data);
        if (err)
            assert_non_null(memmem(error.data, error.len, "HATCHERY_WEBHOOKS_ALLOW=h", 25));
        buf_free(&error);
        guard_allow_free(allow);
    }
}

static void test_ports(void **state)
{
    static const char *const bad[] = { "",         " , ",  "0",      "65536", "80-",        "-80",      "90-80",
                                       "80-65536", "http", "80:443", "1e3",   "4294967376", "80 443 x", "80-90-100" };
    struct guard_allow *allow = parse("");
    struct buf error;

    (void) state;
    buf_init(&error, 1000);
    assert_int_equal(guard_port(allow, 80, &error), 0);
    assert_int_equal(guard_port(allow, 443, &error), 0);
    assert_int_equal(guard_port(allow, 1024, &error), 0);
    assert_int_equal(guard_port(allow, 65535, &error), 0);
    assert_int_equal(error.len, 0);
    static const unsigned closed[] = { 0, 1, 22, 25, 79, 81, 442, 444, 1023, 65536 };
    for (size_t i = 0; i < COUNT(closed); i++)
        assert_int_equal(guard_port(allow, closed[i], &error), -EACCES);
    assert_non_null(memmem(error.data, error.len, "HATCHERY_WEBHOOKS_PORTS", 23));
    for (size_t i = 0; i < COUNT(bad); i++) {
        buf_reset(&error);
        if (guard_allow_ports(allow, bad[i], &error) != -EINVAL || !error.len)
            fail_msg("'%s' was taken", bad[i]);
    }
    buf_reset(&error);
    assert_int_equal(guard_port(allow, 443, &error), 0); /* as it was */
    assert_int_equal(guard_allow_ports(allow, "25, 8000-8002", &error), 0);
    assert_int_equal(guard_port(allow, 25, &error), 0);
    assert_int_equal(guard_port(allow, 8002, &error), 0);
    assert_int_equal(guard_port(allow, 80, &error), -EACCES);
    assert_int_equal(guard_port(allow, 8003, &error), -EACCES);
    buf_free(&error);
    guard_allow_free(allow);
}

static void check_url(const char *list, const char *url, int verdict, const char *host)
{
    struct guard_allow *allow = parse(list);
    struct guard_url parsed = { 0 };
    struct buf error;

    buf_init(&error, 255);
    int err = guard_url(allow, url, &parsed, &error);
    if (err != verdict || error.full || !err != !error.len)
        fail_msg("'%s' with '%s' is %d, '%.*s'", url, list, err, (int) error.len, error.data);
    if (err && parsed.handle)
        fail_msg("'%s' was refused and left something behind", url);
    if (!err && host)
        assert_string_equal(parsed.host, host);
    assert_int_equal(guard_url(allow, url, NULL, &error), verdict);
    guard_url_free(&parsed);
    buf_free(&error);
    guard_allow_free(allow);
}

static void test_urls(void **state)
{
    static const struct {
        const char *url, *host;
    } good[] = {
        { "http://example.com", "example.com" },
        { "https://example.com/", "example.com" },
        { "HTTPS://EXAMPLE.com./a?b#c", "example.com" },
        { "http://example.com:8080/%0d%0a?x=%5C", "example.com" },
        { "http://example.com:443/", "example.com" },
        { "http://example.com:/", "example.com" },
        { "http://example.com?a@b", "example.com" },
        { "http://example.com/a@b:c//../d", "example.com" },
        { "http://n8n:5678/webhook/1", "n8n" },
        { "http://my_service/", "my_service" },
        { "http://3proxy/", "3proxy" },
        { "http://xn--bcher-kva.example/", "xn--bcher-kva.example" },
        { "http://8.8.8.8/", "8.8.8.8" },
        { "http://0x08.010.8/", "8.8.0.8" },
        { "http://%38.010/", "8.0.0.8" },
        { "http://[2606:4700::1111]:443/", "2606:4700::1111" },
        { "http://[2606:4700:0:00:000::0111]/", "2606:4700::111" },
        { "http://notlocalhost/", "notlocalhost" },
        { "http://localhost.example.com/", "localhost.example.com" },
    };
    static const char *const bad[] = {
        "",
        "x",
        "example.com",
        "//example.com",
        "/path",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com",
        "javascript:alert(1)",
        "http:",
        "http:/",
        "http://",
        "http:///",
        "http:///example.com",
        "http:/example.com",
        "http:example.com",
        "http://?a",
        "http://#a",
        "http://:80/",
        "http:\\\\example.com",
        "http://example.com\\@evil.example/",
        "http://example.com/\\",
        "http://user@example.com/",
        "http://user:pass@example.com/",
        "http://:pass@example.com/",
        "http://@example.com/",
        "http://:@example.com/",
        "http://a@b@example.com/",
        "http://example.com:0/",
        "http://example.com:00/",
        "http://example.com:65536/",
        "http://example.com:99999999999999999999/",
        "http://example.com:-1/",
        "http://example.com:+80/",
        "http://example.com:80a/",
        "http://example.com:80:80/",
        "http://exam ple.com/",
        " http://example.com/",
        "http://example.com/ ",
        "http://example.com/\n",
        "http://example.com/\r\nX: y",
        "http://example.com/\t",
        "http://example.com/\x7f",
        "http://example.com/\x01",
        "http://b\xc3\xbc"
        "cher.example/",
        "http://\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.0.0.1/",
        "http://127\xe3\x80\x82"
        "0.0.1/",
        "http://a%00b/",
        "http://a%2fb/",
        "http://a%40b/",
        "http://a%5cb/",
        "http://a%0ab/",
        "http://a%20b/",
        "http://a%C3%BCb/",
        "http://[fe80::1%25eth0]/",
        "http://[fe80::1%eth0]/",
        "http://[::1%251]/",
        "http://[::1/",
        "http://::1/",
        "http://[1:2]/",
        "http://[]/",
        "http://[::1]x/",
        "http://[v1.x]/",
        "http://./",
        "http://a,b/",
        "http://a*b/",
        "http://a'b/",
        "http://a;b/",
        "http://256.1.1.1/",
        "http://1.2.3.4.5/",
        "http://127.0.0.1.1/",
        "http://4294967296/",
        "http://0x100000000/",
        "http://host.0x7f/",
        "http://1.2.3.08/",
        "http://99999999999/",
    };

    (void) state;
    for (size_t i = 0; i < COUNT(good); i++)
        check_url("", good[i].url, 0, good[i].host);
    for (size_t i = 0; i < COUNT(bad); i++) {
        check_url("", bad[i], -EINVAL, NULL);
        check_url("private 0.0.0.0/0 ::/0", bad[i], -EINVAL, NULL);
    }
}

static void test_addresses_in_urls(void **state)
{
    static const char *const local[] = {
        "http://127.0.0.1/",       "http://127.0.0.1./",
        "http://127.1/",           "http://127.0.1",
        "http://2130706433/",      "http://0x7f000001/",
        "http://0X7F.1/",          "http://0177.0.0.1/",
        "http://017700000001:80/", "http://0x7f.0.0.0x1/",
        "http://%31%32%37.0.0.1/", "http://[::ffff:127.0.0.1]/",
        "http://[::FFFF:7f00:1]/", "http://[0:0:0:0:0:ffff:7f00:0001]/",
        "http://localhost/",       "http://LOCALHOST:8080/x",
        "http://localhost./",      "http://a.localhost/",
    };
    static const char *const reserved[] = {
        "http://0/",
        "http://0.0.0.0/",
        "http://169.254.169.254/latest/meta-data/",
        "http://2852039166/",
        "http://0xa9fea9fe/",
        "http://169.254.43518/",
        "http://[::]/",
        "http://[::127.0.0.1]/",
        "http://[64:ff9b::10.0.0.1]/",
        "http://[2002:7f00:1::]/",
        "http://[fe80::1]/",
        "http://[fd00:ec2::254]/",
        "http://255.255.255.255/",
    };

    (void) state;
    for (size_t i = 0; i < COUNT(local); i++) {
        check_url("", local[i], -EACCES, NULL);
        check_url("private", local[i], 0, NULL);
        check_url("127.0.0.0/8", local[i], 0, NULL);
        check_url("10.0.0.0/8", local[i], -EACCES, NULL);
    }
    for (size_t i = 0; i < COUNT(reserved); i++) {
        check_url("", reserved[i], -EACCES, NULL);
        check_url("private 0.0.0.0/0 ::/0", reserved[i], -EACCES, NULL);
    }
    check_url("", "http://[::1]/", -EACCES, NULL);
    check_url("::1", "http://[::1]/", 0, "::1");
    check_url("localhost", "http://localhost/", 0, "localhost");
    check_url("localhost", "http://127.0.0.1/", -EACCES, NULL);
}

static void test_length(void **state)
{
    char url[GUARD_URL_MAX + 2];

    (void) state;
    memset(url, 'a', sizeof(url));
    memcpy(url, "http://example.com/", 19);
    url[GUARD_URL_MAX] = '\0';
    check_url("", url, 0, "example.com");
    url[GUARD_URL_MAX] = 'a';
    url[GUARD_URL_MAX + 1] = '\0';
    check_url("", url, -EINVAL, NULL);
    memset(url, 'a', sizeof(url)); /* a host that is too long for a name */
    memcpy(url, "http://", 7);
    url[7 + GUARD_HOST_MAX] = '\0';
    check_url("", url, 0, NULL);
    url[7 + GUARD_HOST_MAX] = 'a';
    url[8 + GUARD_HOST_MAX] = '\0';
    check_url("", url, -EINVAL, NULL);
}

/* The sentence must say what to write, and writing it must help. */
static void test_sentences(void **state)
{
    static const char *const urls[] = { "http://10.0.0.5:5678/", "http://[fd00::5]/", "http://localhost/",
                                        "http://169.254.169.254/", "http://[fe80::5]/" };
    static const char setting[] = "HATCHERY_WEBHOOKS_ALLOW=";

    (void) state;
    for (size_t i = 0; i < COUNT(urls); i++) {
        struct guard_allow *allow = parse("");
        struct buf error;
        buf_init(&error, 255);
        assert_int_equal(guard_url(allow, urls[i], NULL, &error), -EACCES);
        buf_addc(&error, '\0');
        const char *advice = strstr(error.data, setting);
        if (!advice)
            fail_msg("'%s' names no setting", error.data);
        char word[100] = "";
        assert_int_equal(sscanf(advice, "HATCHERY_WEBHOOKS_ALLOW=%99s", word), 1);
        check_url(word, urls[i], 0, NULL);
        buf_free(&error);
        guard_allow_free(allow);
    }
}

static void test_bad_lists(void **state)
{
    static const char *const bad[] = {
        "10.0.0.0/33",
        "10.0.0.0/",
        "10.0.0.0/x",
        "10.0.0.0/8x",
        "10.0.0.0/-1",
        "10.0.0.0/ 8",
        "10.0.0.1/8",
        "10.0.0/8",
        "/8",
        "fd00::/129",
        "fd00::1/64",
        "::ffff:10.0.0.0/104",
        "::ffff:10.0.0.1",
        "[::1]",
        "[::1]:80",
        "n8n:5678",
        "10.0.0.1:80",
        "http://n8n:5678",
        "http://n8n/",
        "*.example.com",
        "*",
        "a b!",
        "n8n;",
        "256.1.1.1",
        "10.0.0",
        "127.1",
        "2130706433",
        "a/b",
        "b\xc3\xbc"
        "cher",
        "\x1b[2J",
        ".",
        "10.0.0.0/4294967304",
    };

    (void) state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        char list[100];
        struct guard_allow *allow = NULL;
        struct buf error;
        snprintf(list, sizeof(list), "private n8n, %s", bad[i]);
        buf_init(&error, 1000);
        if (guard_allow_parse(list, &allow, &error) != -EINVAL || allow)
            fail_msg("'%s' was taken", bad[i]);
        assert_true(error.len > 3 && error.data[0] == '\'');
        for (size_t j = 0; j < error.len; j++)
            assert_true(error.data[j] >= ' ' && error.data[j] < 0x7f);
        buf_free(&error);
    }
}

static void test_good_lists(void **state)
{
    struct guard_allow *allow;

    (void) state;
    guard_allow_free(parse(""));
    guard_allow_free(parse(" ,\t\n, "));
    guard_allow_free(parse("0.0.0.0/0 ::/0 10.0.0.1/32 ::1/128 3proxy a.b-c_d"));
    assert_null(guard_allow_free(NULL));
    allow = parse("N8N.Example.,PRIVATE");
    assert_int_equal(check_address(allow, "n8n.example", "10.0.0.1"), 0);
    guard_allow_free(allow);
    allow = parse("N8N.Example.");
    assert_int_equal(check_address(allow, "n8n.example", "10.0.0.1"), 0);
    assert_int_equal(check_address(allow, "n8n.example.com", "10.0.0.1"), -EACCES);
    assert_int_equal(check_address(allow, "example", "10.0.0.1"), -EACCES);
    guard_allow_free(allow);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_networks),
        cmocka_unit_test(test_own),
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_family),
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_addresses_in_urls),
        cmocka_unit_test(test_length),
        cmocka_unit_test(test_sentences),
        cmocka_unit_test(test_bad_lists),
        cmocka_unit_test(test_good_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
