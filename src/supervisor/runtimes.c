/* SPDX-License-Identifier: Apache-2.0 */
/* Which runtimes there are, and what is installed in each.
 *
 * The supervisor calls this before it starts anything; check-config and `hatchery env` call it too.
 * What must never happen here: packages that anybody but the operator could have put there (the
 * state directory belongs to the server, which strangers talk to), or reading a file of theirs. */
#include "supervisor/runtimes.h"

#include "supervisor/state.h"

#include "base/fd.h"
#include "base/log.h"
#include "conf/conf_value.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

/* Where Debian has its own packages; below isolation.root. */
static const char system_packages[] = "/usr/lib/python3/dist-packages";

enum { POOL_SIZE = 2, IDLE_MS = 15 * 60 * 1000, PACKAGES_MAX = 4096 };

int runtimes_envs_path(const struct conf *conf, struct buf *ret_path, struct buf *error)
{
    int err = state_path(conf->server_state, ret_path, error);

    if (err)
        return err;
    if (ret_path->len)
        buf_adds(ret_path, "/" RUNTIMES_ENVS);
    return 0;
}

/* --- environments --- */

/* Only we can have made it, and only we can change it. */
static bool is_ours(const struct stat *st)
{
    return S_ISDIR(st->st_mode) && st->st_uid == geteuid() && !(st->st_mode & (S_IWGRP | S_IWOTH));
}

static bool env_is_ours(int envs_fd, const char *name)
{
    char packages[CONF_SECTION_MAX + sizeof(RUNTIMES_PACKAGES) + 2];
    struct stat env, inner;

    snprintf(packages, sizeof(packages), "%s/" RUNTIMES_PACKAGES, name);
    return fstatat(envs_fd, name, &env, AT_SYMLINK_NOFOLLOW) == 0 && is_ours(&env)
           && fstatat(envs_fd, packages, &inner, AT_SYMLINK_NOFOLLOW) == 0 && is_ours(&inner);
}

static int open_envs(const char *envs)
{
    _cleanup_fd_ int fd = open(envs, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    return is_ours(&st) ? fd_steal(&fd) : -EPERM;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *) a, *(char *const *) b);
}

/* The names in @dir that @wanted accepts, sorted. The caller owns the names and the array. */
static size_t list_names(DIR *dir, bool (*wanted)(const char *name), char ***ret)
{
    struct dirent *e;
    size_t n = 0;

    *ret = NULL;
    while (n < PACKAGES_MAX && (e = readdir(dir)))
        if (wanted(e->d_name)) {
            *ret = xrealloc(*ret, (n + 1) * sizeof(**ret));
            (*ret)[n++] = xstrdup(e->d_name);
        }
    if (n)
        qsort(*ret, n, sizeof(**ret), by_name);
    return n;
}

int runtimes_each_env(const char *envs, void (*on_env)(void *data, const char *name), void *data)
{
    int fd = *envs ? open_envs(envs) : -ENOENT;
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    char **names;

    if (fd == -EPERM)
        fprintf(stderr, "hatchery: %s: it is passed over, as others than us can change it\n", envs);
    if (fd == -ENOENT)
        return 0;
    if (fd < 0 || !dir)
        return fd < 0 ? fd : -errno;
    size_t n = list_names(dir, conf_runtime_name_ok, &names);
    for (size_t i = 0; i < n; i++) {
        if (env_is_ours(fd, names[i]))
            on_env(data, names[i]);
        else
            fprintf(stderr, "hatchery: %s/%s: it is passed over: no environment, or others than us can change it\n",
                    envs, names[i]);
        free(names[i]);
    }
    free(names);
    closedir(dir);
    return 0;
}

int runtimes_resolve(const char *envs, const char *text, struct buf *ret_path, struct buf *error)
{
    struct stat st;
    bool by_path = *text == '/';
    size_t mark = ret_path->len;
    _cleanup_fd_ int fd = by_path || !*envs ? -ENOENT : open_envs(envs);

    if (by_path)
        buf_adds(ret_path, text);
    else if (conf_runtime_name_ok(text) && fd >= 0 && env_is_ours(fd, text))
        buf_addf(ret_path, "%s/%s/" RUNTIMES_PACKAGES, envs, text);
    else
        return fail(
            error, -ENOENT,
            "there is no environment '%.64s' in %s; `hatchery env list` shows them, `hatchery env add` makes one", text,
            *envs ? envs : "the state directory, which this server has not");
    if (ret_path->full || strlen(text) >= PATH_MAX)
        return fail(error, -ENAMETOOLONG, "the path is too long");
    if (stat(buf_text(ret_path) + mark, &st) < 0)
        return fail(error, -errno, "%s: %s", text, strerror(errno));
    return S_ISDIR(st.st_mode) ? 0 : fail(error, -ENOTDIR, "%s: %s", text, strerror(ENOTDIR));
}

/* --- the list --- */

struct finding {
    const struct conf *conf;
    struct runtimes *ret;
    const char *envs;
    struct buf *error;
    int err;
};

static bool is_listed(const struct runtimes *r, const char *name)
{
    for (unsigned i = 0; i < r->n; i++)
        if (strcmp(r->list[i].wire.name, name) == 0)
            return true;
    return false;
}

static struct runtime_spec *add(struct finding *f, const char *name)
{
    if (f->ret->n == WIRE_RUNTIMES_MAX) {
        conf_sentence(f->error);
        buf_addf(f->error, "there are more than %d runtimes: remove some ([runtime.NAME], `hatchery env remove`)",
                 WIRE_RUNTIMES_MAX);
        f->err = -E2BIG;
        return NULL;
    }
    struct runtime_spec *spec = &f->ret->list[f->ret->n++];
    *spec = (struct runtime_spec){ .wire = { .pool_size = POOL_SIZE, .idle_ms = IDLE_MS },
                                   .packages = xstrdup(""),
                                   .callbacks = f->conf->isolation_callbacks,
                                   .epoll = f->conf->isolation_epoll,
                                   .imports = xstrdup("") };
    snprintf(spec->wire.name, sizeof(spec->wire.name), "%s", name);
    return spec;
}

static void set(char **field, const char *value)
{
    free(*field);
    *field = xstrdup(value);
}

/* @key: the key whose value @text is, for the sentence. */
static void take_packages(struct finding *f, struct runtime_spec *spec, const char *key, const char *text)
{
    _cleanup_buf_ struct buf path;
    size_t mark = f->error->len;

    buf_init(&path, PATH_MAX);
    buf_addf(f->error, "%s: ", key);
    int err = runtimes_resolve(f->envs, text, &path, f->error);
    conf_locate(f->conf, err, mark, f->error);
    if (err) {
        f->err = f->err ? f->err : err;
        return;
    }
    set(&spec->packages, buf_text(&path));
    spec->of_env = *text != '/';
}

/* Does the system have a module of this name, or the package that contains it? */
static bool system_has(const struct conf *conf, const char *module, size_t len)
{
    static const char *const ends[] = { "", ".py" };
    char path[2 * PATH_MAX];
    struct stat st;

    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s%s/%.*s%s", conf->isolation_root, system_packages, (int) len, module, ends[i]);
        if (stat(path, &st) == 0)
            return true;
    }
    return false;
}

/* Keep the words of @imports that this host has. */
static void keep_those_here(const struct conf *conf, const char *imports, struct runtime_spec *spec)
{
    _cleanup_buf_ struct buf kept;

    buf_init(&kept, 4096);
    for (const char *p = imports; *(p += strspn(p, " ,"));) {
        size_t n = strcspn(p, " ,");
        if (system_has(conf, p, strcspn(p, " ,.")))
            buf_addf(&kept, "%s%.*s", kept.len ? " " : "", (int) n, p);
        p += n;
    }
    set(&spec->imports, buf_text(&kept));
}

/* Take the value @text of the section's @key: yes, no, or empty, which leaves @ret as it is. */
static void take_switch(struct finding *f, const char *section, const char *key, const char *text, bool *ret)
{
    size_t mark = f->error->len;
    int64_t yes;

    if (!*text)
        return;
    int err = conf_value_number(CONF_BOOL, text, &yes);
    if (err == 0) {
        *ret = yes;
        return;
    }
    buf_addf(f->error, "%s.%s: '%s' is neither yes nor no", section, key, text);
    conf_locate(f->conf, err, mark, f->error);
    f->err = f->err ? f->err : err;
}

/* `data` without packages of its own is Debian's: it exists if numpy is installed. */
static void add_configured(struct finding *f, const struct conf_runtime *rt)
{
    char key[CONF_SECTION_MAX + 16];
    const char *name = conf_runtime_name(rt);
    bool of_debian = strcmp(name, "data") == 0 && !*rt->packages;
    struct runtime_spec *spec = of_debian && !system_has(f->conf, "numpy", 5) ? NULL : add(f, name);

    if (!spec)
        return;
    spec->wire.pool_size = (unsigned) rt->pool_size;
    spec->wire.at_start = rt->at_start;
    spec->wire.idle_ms = rt->idle;
    snprintf(key, sizeof(key), "%s.packages", rt->section);
    if (of_debian)
        keep_those_here(f->conf, rt->imports, spec);
    else
        set(&spec->imports, rt->imports);
    if (*rt->packages)
        take_packages(f, spec, key, rt->packages);
    take_switch(f, rt->section, "callbacks", rt->callbacks, &spec->callbacks);
    take_switch(f, rt->section, "epoll", rt->epoll, &spec->epoll);
}

/* An environment without a section is a runtime all the same. If its section names no packages, it
 * gets these. */
static void add_env(void *data, const char *name)
{
    struct finding *f = data;

    if (!is_listed(f->ret, name) && !add(f, name))
        return;
    for (unsigned i = 1; i < f->ret->n; i++)
        if (strcmp(f->ret->list[i].wire.name, name) == 0 && !*f->ret->list[i].packages)
            take_packages(f, &f->ret->list[i], name, name);
}

static void add_default(struct finding *f)
{
    unsigned twice = 2 * (unsigned) get_nprocs(), usual = twice > 4 ? twice : 4;
    struct runtime_spec *spec = add(f, "default");

    spec->wire.at_start = true;
    spec->wire.pool_size = f->conf->pool_size ? (unsigned) f->conf->pool_size : usual;
    if (*f->conf->python_packages)
        take_packages(f, spec, "python.packages", f->conf->python_packages);
}

int runtimes_find(const struct conf *conf, struct runtimes *ret, struct buf *error)
{
    struct buf envs;
    struct finding f = { .conf = conf, .ret = ret, .error = error };
    size_t mark = error->len;

    *ret = (struct runtimes){ 0 };
    buf_init(&envs, PATH_MAX);
    if (runtimes_envs_path(conf, &envs, error) < 0) /* the caller that needs a state reports this */
        error->len = mark;
    f.envs = buf_text(&envs);
    add_default(&f);
    for (unsigned i = 0; i < conf->n_runtimes; i++)
        add_configured(&f, &conf->runtimes[i]);
    runtimes_each_env(f.envs, add_env, &f); /* an unreadable directory counts as empty: the caller
                                             * that needs a state reports it */
    buf_free(&envs);
    if (f.err)
        runtimes_free(ret);
    return f.err;
}

void runtimes_free(struct runtimes *runtimes)
{
    while (runtimes->n) {
        struct runtime_spec *spec = &runtimes->list[--runtimes->n];
        free(spec->packages);
        free(spec->imports);
        *spec = (struct runtime_spec){ 0 };
    }
}

/* --- are their imports there? --- */

/* Modules that are in Debian's interpreter and have no file. */
static const char built_in[] =
    " _abc _ast _bisect _blake2 _codecs _collections _csv _datetime _elementtree _functools _heapq _imp _io _locale "
    "_md5"
    " _opcode _operator _pickle _posixsubprocess _random _sha1 _sha256 _sha3 _sha512 _signal _socket _sre _stat"
    " _statistics _string _struct _symtable _thread _tokenize _tracemalloc _warnings _weakref array atexit binascii"
    " builtins cmath errno faulthandler fcntl gc grp itertools marshal math posix pwd pyexpat select spwd sys syslog "
    "time"
    " unicodedata xxsubtype zlib ";

/* Does the directory @path have a file or directory of the module @name: NAME, NAME.py,
 * NAME.SOMETHING.so? */
static bool directory_has(const char *path, const char *name)
{
    size_t n = strlen(name);
    DIR *dir = opendir(path);
    struct dirent *e;
    bool has = false;

    while (dir && !has && (e = readdir(dir))) {
        const char *rest = strncmp(e->d_name, name, n) == 0 ? e->d_name + n : "?";
        size_t len = strlen(rest);
        has = !*rest || strcmp(rest, ".py") == 0 || (*rest == '.' && len > 3 && strcmp(rest + len - 3, ".so") == 0);
    }
    if (dir)
        closedir(dir);
    return has;
}

static bool has_module(const struct conf *conf, const struct runtime_spec *spec, const char *name)
{
    static const char *const places[] = { "/usr/lib/python3.11", "/usr/lib/python3.11/lib-dynload", system_packages };
    char path[2 * PATH_MAX], word[80];

    snprintf(word, sizeof(word), " %s ", name);
    if (strstr(built_in, word) || (*spec->packages && directory_has(spec->packages, name)))
        return true;
    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
        snprintf(path, sizeof(path), "%s%s", conf->isolation_root, places[i]);
        if (directory_has(path, name))
            return true;
    }
    return false;
}

/* For a.b it looks for the package a. */
static void doubt(const struct conf *conf, const struct runtime_spec *spec, const char *key, const char *imports,
                  struct buf *out)
{
    for (const char *p = imports; *(p += strspn(p, " ,")); p += strcspn(p, " ,")) {
        char name[64] = "";
        size_t n = strcspn(p, " ,.");
        memcpy(name, p, n < sizeof(name) ? n : sizeof(name) - 1);
        if (!has_module(conf, spec, name))
            buf_addf(out, "%s: there is no module '%s': it is misspelt or not installed, and will be left out\n", key,
                     name);
    }
}

void runtimes_doubt_imports(const struct conf *conf, const struct runtimes *runtimes, struct buf *out)
{
    char key[CONF_SECTION_MAX + 16];

    doubt(conf, &runtimes->list[0], "python.imports", conf->python_imports, out);
    for (unsigned i = 1; i < runtimes->n; i++) {
        snprintf(key, sizeof(key), "runtime.%s.imports", runtimes->list[i].wire.name);
        doubt(conf, &runtimes->list[i], key, runtimes->list[i].imports, out);
    }
}

/* --- where they are --- */

static int open_ours(int dir_fd, const char *name)
{
    _cleanup_fd_ int fd = openat(dir_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    return is_ours(&st) ? fd_steal(&fd) : -EPERM;
}

int runtimes_open(const struct runtime_spec *spec)
{
    char path[PATH_MAX]; /* ENVS/NAME/packages */

    if (!spec->of_env) {
        int fd = open(spec->packages, O_PATH | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
    }
    snprintf(path, sizeof(path), "%s", spec->packages);
    *strrchr(path, '/') = '\0';
    char *name = strrchr(path, '/');
    *name++ = '\0';
    _cleanup_fd_ int envs = open_envs(path);
    _cleanup_fd_ int env = envs < 0 ? envs : open_ours(envs, name);
    return env < 0 ? env : open_ours(env, RUNTIMES_PACKAGES);
}

/* --- what is installed --- */

static bool is_mark(const char *name)
{
    static const char *const ends[] = { ".dist-info", ".egg-info" };
    size_t n = strlen(name);

    for (int i = 0; i < 2; i++) {
        size_t m = strlen(ends[i]);
        if (n > m && strcmp(name + n - m, ends[i]) == 0)
            return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+!-") == n && n < 200;
    }
    return false;
}

struct listing {
    struct buf *out;
    size_t mark; /* where the list begins */
};

/* NAME-VERSION.dist-info, NAME-VERSION-pyX.Y.egg-info; in NAME an underscore stands for a
 * hyphen. */
static void add_mark(struct listing *l, const char *mark)
{
    char text[200], needle[220];
    size_t n = strcspn(mark, "-");

    if (mark[n] != '-')
        return;
    snprintf(text, sizeof(text), "%s", mark);
    *strrchr(text, '.') = '\0';
    text[n] = '\0';
    char *version = text + n + 1;
    version[strcspn(version, "-")] = '\0';
    for (char *p = text; *p; p++)
        *p = *p == '_' ? '-' : *p;
    snprintf(needle, sizeof(needle), "{\"name\": \"%s\",", text);
    /* The runtime's own packages come before the system's, as when they are imported. */
    if (!*version || memmem(l->out->data + l->mark, l->out->len - l->mark, needle, strlen(needle)))
        return;
    buf_addf(l->out, "%s%s \"version\": \"%s\"}", l->out->len == l->mark ? "" : ", ", needle, version);
}

static void add_directory(struct listing *l, const char *path)
{
    DIR *dir = opendir(path);
    char **names;

    if (!dir)
        return;
    size_t n = list_names(dir, is_mark, &names);
    closedir(dir);
    for (size_t i = 0; i < n; i++) {
        add_mark(l, names[i]);
        free(names[i]);
    }
    free(names);
}

void runtimes_add_packages(const struct conf *conf, const struct runtime_spec *spec, struct buf *out)
{
    char path[2 * PATH_MAX];
    struct listing l = { .out = out };

    buf_addc(out, '[');
    l.mark = out->len;
    if (*spec->packages)
        add_directory(&l, spec->packages);
    snprintf(path, sizeof(path), "%s%s", conf->isolation_root, system_packages);
    add_directory(&l, path);
    buf_addc(out, ']');
}
