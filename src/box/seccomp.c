/* SPDX-License-Identifier: Apache-2.0 */
/* The program's system-call filter: the walk through seccomp.def, which is the policy.
 *
 * Called once by the zygote, before any fork; libseccomp compiles to BPF, a
 * binary tree because a linear filter of this size costs three times as much a
 * call.  The kernel translates a filter each time it is installed, 0.15 ms for this one; so the zygote takes on what
 * all boxes share of it, except for the calls that making a box takes, and each box a small one for those.  Both hold
 * in a box, and the stricter answer counts.  What must never happen here: a 64-bit compare of an argument that the
 * kernel reads as 32 bits (CVE-2019-10063): those are compared under a 32-bit
 * mask, or by the low half alone in the part that is put in front. */
#include "box/box.h"

#include "base/fd.h"
#include "base/filter.h"
#include "base/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* set_mempolicy_home_node(2), and where x86_64 has numbers of x32's own. */
enum { NEWEST_KNOWN = 450, FIRST_X32 = 512 };

enum { CONDITIONS_MAX = 3 };

/* What is asked in front of libseccomp's program, in this order. */
enum front { NO_FRONT, FRONT_GUARDED, FRONT_ANSWERED, FRONT_VALUES, FRONT_CALLBACKS, FRONTS };

enum option { NO_OPTION, OPTION_EPOLL, OPTION_CALLBACKS };

/* A row of seccomp.def. */
struct row {
    const char *name;
    struct scmp_arg_cmp conditions[CONDITIONS_MAX];
    const uint32_t *values;
    size_t n;
    enum option option; /* without it ENOSYS */
    enum front front;
    uint32_t action;
    unsigned arg;
    int error;
    bool is_rule; /* of libseccomp's program */
};

#define FRONT(kind, arg_, error_, ...)                                                                                 \
    .front = (kind), .arg = (arg_), .error = (error_), .values = (const uint32_t[]){ __VA_ARGS__ },                    \
    .n = sizeof((const uint32_t[]){ __VA_ARGS__ }) / sizeof(uint32_t)

#define RULE(name_, action_) .name = #name_, .is_rule = true, .action = (action_)

static const struct row rows[] = {
#define ALLOW(name) { RULE(name, SCMP_ACT_ALLOW) },
#define ANSWER(name, error) { RULE(name, SCMP_ACT_ERRNO(error)) },
#define EPOLL(name) { RULE(name, SCMP_ACT_ALLOW), .option = OPTION_EPOLL },
#define WHEN(name, ...) { RULE(name, SCMP_ACT_ALLOW), .conditions = { __VA_ARGS__ } },
#define REFUSE(name, error, ...) { RULE(name, SCMP_ACT_ERRNO(error)), .conditions = { __VA_ARGS__ } },
#define WITHOUT(name, arg, flags, error)                                                                               \
    { RULE(name, SCMP_ACT_ALLOW), .conditions = { NONE_OF(arg, flags) } },                                             \
        { RULE(name, SCMP_ACT_ERRNO(error)), .conditions = { ALL_OF(arg, flags) } },
#define GUARDED(name, arg, error) { RULE(name, SCMP_ACT_ALLOW), FRONT(FRONT_GUARDED, arg, error, BOX_CONTROL_FD) },
#define ANSWERED(call, arg, error, ...) { .name = #call, FRONT(FRONT_ANSWERED, arg, error, __VA_ARGS__) },
#define VALUES(name, arg, error, ...) { RULE(name, SCMP_ACT_ALLOW), FRONT(FRONT_VALUES, arg, error, __VA_ARGS__) },
#define ONLY(call, arg, error, ...) { .name = #call, FRONT(FRONT_VALUES, arg, error, __VA_ARGS__) },
#define CALLBACKS(name, arg, error, ...)                                                                               \
    { RULE(name, SCMP_ACT_ALLOW), .option = OPTION_CALLBACKS, FRONT(FRONT_CALLBACKS, arg, error, __VA_ARGS__) },
#include "box/seccomp.def"
};
static const size_t n_rows = sizeof(rows) / sizeof(*rows);

static const char *const setup[] = {
#define SETUP(name) #name,
#include "box/seccomp.def"
};

static bool is_setup(const char *name)
{
    for (size_t i = 0; i < sizeof(setup) / sizeof(*setup); i++)
        if (strcmp(setup[i], name) == 0)
            return true;
    return false;
}

/* A filter in the making. */
struct part {
    enum box_filter which;
    bool callbacks, epoll;
    scmp_filter_ctx ctx;
};

static bool is_in(enum box_filter which, const char *name)
{
    return which != BOX_FILTER_OWN || is_setup(name);
}

static uint32_t action_of(const struct part *part, const struct row *row)
{
    bool lacks = (row->option == OPTION_EPOLL && !part->epoll) || (row->option == OPTION_CALLBACKS && !part->callbacks);
    return lacks ? SCMP_ACT_ERRNO(ENOSYS) : row->action;
}

static int add_row(const struct part *part, const struct row *row)
{
    unsigned n = 0;

    if (!row->is_rule || !is_in(part->which, row->name))
        return 0;
    while (n < CONDITIONS_MAX && row->conditions[n].op)
        n++;
    return filter_add(part->ctx, action_of(part, row), row->name, n, row->conditions);
}

/* What came into the kernel after this libseccomp: as on a kernel without it, so that newer libraries take their
 * other way. */
static int add_newer(const struct part *part)
{
    int err = 0;

    if (part->which == BOX_FILTER_OWN)
        return 0;
    for (int nr = NEWEST_KNOWN + 1; nr < FIRST_X32 && !err; nr++)
        err = seccomp_rule_add_array(part->ctx, SCMP_ACT_ERRNO(ENOSYS), nr, 0, NULL);
    return err;
}

/* What libseccomp cannot say, in front of its program: "any value but one", and "these values, or else this errno",
 * both of the low 32 bits of one argument.  What passes here goes on to libseccomp's part. */
struct front_code {
    enum box_filter which;
    bool callbacks;
    struct sock_filter code[256];
    unsigned short n;
};

static void put(struct front_code *f, unsigned code, uint32_t k, size_t jump_true, size_t jump_false)
{
    if (f->n < sizeof(f->code) / sizeof(*f->code))
        f->code[f->n] = (struct sock_filter){ (uint16_t) code, (uint8_t) jump_true, (uint8_t) jump_false, k };
    f->n++;
}

static void put_load(struct front_code *f, size_t offset)
{
    put(f, BPF_LD | BPF_W | BPF_ABS, (uint32_t) offset, 0, 0);
}

/* If the call is @row's (its number is loaded): refuse it where its argument is not among the values, or where it is, as
 * @among says.  The number is loaded again after it. */
static void put_row(struct front_code *f, const struct row *row, bool among)
{
    int nr = seccomp_syscall_resolve_name(row->name);

    if (nr < 0 || !is_in(f->which, row->name))
        return; /* not on this architecture, or not in this part */
    put(f, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t) nr, 0, row->n + 3);
    put_load(f, offsetof(struct seccomp_data, args) + row->arg * sizeof(uint64_t)
                    + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? sizeof(uint32_t) : 0));
    for (size_t i = 0; i < row->n; i++) {
        bool last = i == row->n - 1;
        size_t hit = row->n - i - 1; /* from here to the refusal */
        put(f, BPF_JMP | BPF_JEQ | BPF_K, row->values[i], among ? hit : hit + 1, among && last);
    }
    put(f, BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t) row->error, 0, 0);
    put_load(f, offsetof(struct seccomp_data, nr));
}

static void put_rows(struct front_code *f, enum front front)
{
    for (const struct row *row = rows; row < rows + n_rows; row++)
        if (row->front == front)
            put_row(f, row, front == FRONT_GUARDED || front == FRONT_ANSWERED);
}

/* What a part says of the calls that it leaves to the other one.  Its last jump is to what follows. */
static void put_share(struct front_code *f)
{
    int numbers[sizeof(setup) / sizeof(*setup)];
    size_t n = 0;

    for (size_t i = 0; i < sizeof(setup) / sizeof(*setup); i++) {
        int nr = seccomp_syscall_resolve_name(setup[i]);
        if (nr >= 0)
            numbers[n++] = nr;
    }
    for (size_t i = 0; i < n; i++) {
        size_t rest = n - i - 1;
        bool own = f->which == BOX_FILTER_OWN;
        put(f, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t) numbers[i], own ? rest + 1 : rest, own || rest ? 0 : 1);
    }
    put(f, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
}

/* Numbers mean other calls in another ABI: those skip this part, and libseccomp's ends them. */
static int build_front(struct front_code *f)
{
    put_load(f, offsetof(struct seccomp_data, arch));
    put(f, BPF_JMP | BPF_JEQ | BPF_K, seccomp_arch_native(), 1, 0);
    put(f, BPF_JMP | BPF_JA, 0, 0, 0);
    put_load(f, offsetof(struct seccomp_data, nr));
    if (f->which != BOX_FILTER_WHOLE)
        put_share(f);
    for (enum front front = FRONT_GUARDED; front < FRONTS; front++)
        if (front != FRONT_CALLBACKS || f->callbacks)
            put_rows(f, front);
    if (f->n > sizeof(f->code) / sizeof(*f->code))
        return -ENOSPC;
    f->code[2].k = f->n - 3u;
    return 0;
}

/* Both parts in one block, from the file @fd that has libseccomp's. */
static int join(int fd, const struct front_code *front, struct sock_fprog *ret_filter)
{
    size_t front_size = front->n * sizeof(*front->code);
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    struct sock_filter *code = malloc(front_size + (size_t) st.st_size);
    if (!code)
        return -ENOMEM;
    if (pread(fd, code + front->n, (size_t) st.st_size, 0) != st.st_size) {
        free(code);
        return -EIO;
    }
    memcpy(code, front->code, front_size);
    ret_filter->filter = code;
    ret_filter->len = (unsigned short) (front->n + (size_t) st.st_size / sizeof(*code));
    return 0;
}

/* libseccomp writes BPF to a descriptor only. */
static int export(scmp_filter_ctx ctx, const struct front_code *front, struct sock_fprog *ret_filter)
{
    _cleanup_fd_ int fd = memfd_create("filter", MFD_CLOEXEC);

    if (fd < 0)
        return -errno;
    int err = seccomp_export_bpf(ctx, fd);
    return err ? err : join(fd, front, ret_filter);
}

static int fill(const struct part *part)
{
    int err = seccomp_attr_set(part->ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (err)
        return err;
    err = seccomp_attr_set(part->ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    for (size_t i = 0; i < n_rows && !err; i++)
        err = add_row(part, &rows[i]);
    return err ? err : add_newer(part);
}

int box_seccomp_compile(enum box_filter which, bool callbacks, bool epoll, struct sock_fprog *ret_filter)
{
    struct front_code front = { .which = which, .callbacks = callbacks };
    const struct part part = { which, callbacks, epoll, seccomp_init(SCMP_ACT_ERRNO(EPERM)) };

    if (!part.ctx)
        return -ENOMEM;
    int err = build_front(&front);
    if (!err)
        err = fill(&part);
    if (!err)
        err = export(part.ctx, &front, ret_filter);
    seccomp_release(part.ctx);
    return err;
}
