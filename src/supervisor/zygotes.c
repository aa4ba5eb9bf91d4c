/* SPDX-License-Identifier: Apache-2.0 */
/* The zygotes of each runtime: what they are told, when one is needed, when the next takes over.
 *
 * children.c calls this file to start a zygote and to judge one that has ended; orders.c when the
 * server asks for one.  A runtime has at most two: the one that makes the boxes, and the one before
 * it.  The server is told what a runtime has and what it does without.  What must never happen
 * here: that an import that ends its zygote is tried without end. */
#include "supervisor/process.h"

#include "supervisor/cgroup.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* The shortest time from one zygote's start to the next that a server asks for: warming one takes a
 * good part of a second. */
enum { ROTATE_LEAST_MS = 1000 };

static void add_words(struct buf *out, const char *words, const char *between)
{
    for (const char *p = words; *(p += strspn(p, " ,")); between = ", ") {
        size_t n = strcspn(p, " ,");
        buf_adds(out, between);
        json_add_string(out, p, n);
        p += n;
    }
}

int send_packages(const struct supervisor *s, unsigned runtime)
{
    const struct runtime_spec *spec = &s->found.list[runtime];
    const struct wire_of_runtime here = { .type = WIRE_PACKAGES, .runtime = runtime };
    _cleanup_fd_ int fd = memfd_create("packages", MFD_CLOEXEC);
    struct buf out;
    bool any = s->conf->python_imports[strspn(s->conf->python_imports, " ,")];

    buf_init(&out, 1 << 20);
    buf_adds(&out, "\"imports\": [");
    add_words(&out, s->conf->python_imports, "");
    add_words(&out, spec->imports, any ? ", " : "");
    buf_adds(&out, "], \"packages\": ");
    runtimes_add_packages(s->conf, spec, &out);
    bool ok = fd >= 0 && !out.full && pwrite(fd, out.data, out.len, 0) == (ssize_t) out.len;
    buf_free(&out);
    return ok ? fd_send(s->server->sock, &here, sizeof(here), &fd, 1) : -EIO;
}

void list_imports(const struct supervisor *s, unsigned runtime, char ret[static sizeof(s->zygote_conf.imports)])
{
    snprintf(ret, sizeof(s->zygote_conf.imports), "%s %s", s->conf->python_imports, s->found.list[runtime].imports);
}

int send_fault(struct supervisor *s, unsigned runtime)
{
    const struct imports *imports = &s->runtimes[runtime].imports;
    struct wire_fault here = { .type = WIRE_FAULT, .runtime = runtime, .fault = (uint32_t) imports->fault };
    char list[sizeof(s->zygote_conf.imports)];
    _cleanup_fd_ int fd = memfd_create("faults", MFD_CLOEXEC);
    struct buf out;

    list_imports(s, runtime, list);
    buf_init(&out, 1 << 17);
    here.n_left_out = imports_add_json(imports, list, &out);
    bool ok = fd >= 0 && !out.full && pwrite(fd, out.data, out.len, 0) == (ssize_t) out.len;
    buf_free(&out);
    return ok ? fd_send(s->server->sock, &here, sizeof(here), &fd, 1) : -EIO;
}

/* Send the settings of all runtimes, and those of this one. */
static int send_zygote_conf(const struct supervisor *s, int sock, unsigned runtime)
{
    static struct wire_zygote_conf conf;

    conf = s->zygote_conf;
    conf.type = WIRE_ZYGOTE_CONF;
    /* The watch that stands in for cgroups can't see a file in memory that is written and not
     * mapped. */
    conf.callbacks = s->found.list[runtime].callbacks && s->cgroups;
    conf.epoll = s->found.list[runtime].epoll;
    list_imports(s, runtime, conf.imports);
    imports_leave_out(&s->runtimes[runtime].imports, conf.left_out);
    return fd_send(sock, &conf, sizeof(conf), NULL, 0);
}

/* @ret->fd is the caller's; -1 if there are no packages. */
static int open_packages(const struct runtime_spec *spec, struct launch_packages *ret)
{
    *ret = (struct launch_packages){ spec->packages, -1 };
    if (!*spec->packages)
        return 0;
    ret->fd = runtimes_open(spec);
    if (ret->fd >= 0)
        return 0;
    log_error("the packages of a runtime are not there",
              LOG_S("directory", spec->packages) LOG_S("errno", strerrorname_np(-ret->fd)));
    return ret->fd;
}

int start_zygote(struct supervisor *s, struct child *zygote, struct buf *error)
{
    const struct wire_of_runtime here = { .type = WIRE_ZYGOTE, .runtime = zygote->runtime };
    _cleanup_fd_ int theirs = -1;
    _cleanup_fd_ int server_end = -1;
    _cleanup_fd_ int zygote_end = -1;
    int on = 1;
    int err = make_pair(&zygote->sock, &theirs);

    (void) error;
    if (err)
        return err;
    err = make_pair(&server_end, &zygote_end);
    if (err)
        return err;
    /* A box that asks to join a cgroup is known by the pid that the kernel tells us. */
    if (setsockopt(zygote->sock, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0)
        return -errno;
    struct launch_group group = { .fd = -1 };
    if (s->cgroups)
        group.fd = cgroups_zygote_fd(s->cgroups, &group.above);
    const struct runtime_spec *spec = &s->found.list[zygote->runtime];
    struct launch_packages packages;
    zygote->importing = WIRE_IMPORTS_MAX;
    zygote->imported = false;
    err = open_packages(spec, &packages);
    if (err) {
        s->runtimes[zygote->runtime].imports.fault = FAULT_PACKAGES;
        return err;
    }
    reach_find(&s->reach, s->files.root);
    s->files.reach = &s->reach;
    s->files.limits = &s->zygote_conf.limits;
    pid_t pid = launch_zygote(&s->files, &s->ids, s->server_conf.n_slots, theirs, zygote_end, &group,
                              packages.fd < 0 ? NULL : &packages, s->require);
    fd_close(&packages.fd);
    if (pid < 0)
        return pid;
    zygote->pid = pid;
    fcntl(zygote->sock, F_SETFL, O_NONBLOCK);
    err = send_zygote_conf(s, zygote->sock, zygote->runtime);
    return err ? err : fd_send(s->server->sock, &here, sizeof(here), &server_end, 1);
}

void report_fault(struct supervisor *s, unsigned runtime, unsigned at)
{
    struct supervisor_report *report = s->options->report;
    size_t n = report ? strlen(report->text) : 0;
    bool import = at < WIRE_IMPORTS_MAX;
    char list[sizeof(s->zygote_conf.imports)], name[256];
    _cleanup_buf_ struct buf why;

    buf_init(&why, 2 * WIRE_WHY_MAX);
    imports_add_why(&s->runtimes[runtime].imports, at, &why);
    list_imports(s, runtime, list);
    imports_name(list, at, name);
    if (import)
        log_warn("an import is left out of a runtime",
                 LOG_S("runtime", s->found.list[runtime].wire.name) LOG_S("import", name) LOG_S("why", buf_text(&why)));
    else
        log_error("a runtime does not start",
                  LOG_S("runtime", s->found.list[runtime].wire.name) LOG_S("why", buf_text(&why)));
    if (report && import)
        snprintf(report->text + n, sizeof(report->text) - n, "The import of %s is left out: %s.\n", name,
                 buf_text(&why));
    else if (report)
        snprintf(report->text + n, sizeof(report->text) - n, "It does not start: %s.\n", buf_text(&why));
    if (server_is_there(s))
        send_fault(s, runtime);
}

static void on_fault(struct supervisor *s, struct child *child)
{
    struct zygotes *z = &s->runtimes[child->runtime];
    bool has_other = z->children[0].pid || z->children[1].pid;

    if (!s->server_conf.runtimes[child->runtime].at_start && !has_other)
        z->needed = false;
}

struct child *current_of(struct zygotes *z)
{
    return &z->children[z->current];
}

/* When the successor that the server has asked for is due: not before there is room, nor right
 * after the last one. */
int64_t rotate_at_us(const struct zygotes *z)
{
    const struct child *now = &z->children[z->current];

    if (!z->wanted || z->children[!z->current].pid || !now->pid)
        return INT64_MAX;
    return now->started_us + ROTATE_LEAST_MS * 1000LL;
}

void rotate(struct zygotes *z)
{
    struct child *other = &z->children[!z->current];

    if (rotate_at_us(z) > now_us())
        return;
    z->wanted = false;
    other->start_at_us = 0;
    other->failures = current_of(z)->failures;
    z->current = !z->current;
}

void want_zygote(struct zygotes *z)
{
    if (z->needed && current_of(z)->pid)
        z->wanted = true;
    z->needed = true;
}

/* A zygote may end with its server, or with its last box when a new one has taken over, or when the
 * server has let go of a runtime that nobody uses.  But a server that lives on could let go of the
 * zygote that it always needs, and have another made at once, again and again: that one is put
 * off.  We may see the server's own end a moment later, so the restart is logged only when it
 * happens. */
static void on_zygote_over(struct supervisor *s, struct child *child)
{
    struct zygotes *z = &s->runtimes[child->runtime];
    bool lives = server_is_there(s), is_current = child == current_of(z);

    if (lives && is_current && !s->server_conf.runtimes[child->runtime].at_start)
        z->needed = false;
    else if (lives && is_current)
        child->unlogged_ms = put_off(child);
    else
        child->start_at_us = now_us() + BACKOFF_FIRST_MS * 1000;
}

/* A zygote that ended just before the old server ended with it: that was no failure. */
void forget_needs(struct supervisor *s)
{
    for (unsigned i = 0; i < s->server_conf.n_runtimes; i++) {
        struct child *now = current_of(&s->runtimes[i]);
        s->runtimes[i].needed = s->server_conf.runtimes[i].at_start;
        now->failures -= now->unlogged_ms ? 1 : 0;
        now->unlogged_ms = 0;
    }
}

static int on_zygote_unable(struct supervisor *s, struct child *child, int status)
{
    struct zygotes *z = &s->runtimes[child->runtime];
    bool cannot = WIFEXITED(status) && WEXITSTATUS(status) >= WIRE_ZYGOTE_CANNOT;

    if (child->imported && !cannot)
        return 0;
    if (!imports_ended(&z->imports, child->importing, status))
        return 0;
    report_fault(s, child->runtime, child->importing);
    if (child->importing == WIRE_IMPORTS_MAX)
        return -1;
    child->start_at_us = 0;
    return 1;
}

bool zygote_is_replaced(const struct supervisor *s, const struct child *zygote)
{
    const struct zygotes *z = &s->runtimes[zygote->runtime];
    return zygote != &z->children[z->current];
}

bool zygote_is_wanted(const struct supervisor *s, const struct child *zygote)
{
    return s->runtimes[zygote->runtime].needed && !zygote_is_replaced(s, zygote);
}

void on_zygote_not_started(struct supervisor *s, struct child *zygote)
{
    if (!s->runtimes[zygote->runtime].imports.fault)
        return;
    report_fault(s, zygote->runtime, WIRE_IMPORTS_MAX);
    on_fault(s, zygote);
}

bool on_zygote_end(struct supervisor *s, struct child *zygote, int status)
{
    if (s->stopping)
        return true;
    int again = on_zygote_unable(s, zygote, status);
    if (again > 0)
        return true;
    if (again < 0)
        on_fault(s, zygote);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || !may_fail(s, zygote))
        return false;
    on_zygote_over(s, zygote);
    return true;
}
