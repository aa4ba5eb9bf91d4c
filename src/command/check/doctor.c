/* SPDX-License-Identifier: Apache-2.0 */
/* hatchery doctor: layer by layer, what holds on this host.
 *
 * It runs a program in a child, as `hatchery run` would.  The child's supervisor shares with us
 * what it finds out about the layers.  If a layer is missing that an operator may do without, the
 * program runs once more without it, so that the doctor sees the others.  If no box can be made, it
 * tries each layer by itself. What must never happen here: that a layer is reported to hold which
 * was not put on. */
#include "command/check/check.h"
#include "command/check/probe.h"

#include "base/fd.h"
#include "supervisor/cgroup.h"
#include "supervisor/inherit.h"
#include "supervisor/runtimes.h"
#include "supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

/* It prints what it sees of its Python, as JSON on stdout. */
static const char program[] = "import importlib.metadata, json, sys\n"
                              "found = {d.metadata['Name']: d.version for d in importlib.metadata.distributions()}\n"
                              "print(json.dumps({'version': sys.version.split()[0], 'packages': "
                              "dict(sorted(found.items(), key=lambda i: i[0].lower()))}))\n";

struct visit {
    struct require *require; /* shared with the child */
    bool ran;                /* the program ended normally in the required jail */
    bool seen;               /* it did so in the required jail, or in one without the missing
                              * layers */
    uint32_t granted;        /* no box could be made, but the kernel grants these layers */
    json_t *python;
    json_t *runtimes; /* NULL: no box could be made */
    struct buf words; /* the first child's text on stderr */
};

static int text_file(const char *text)
{
    _cleanup_fd_ int fd = memfd_create("hatchery", MFD_CLOEXEC);
    size_t n = strlen(text);

    if (fd < 0 || (n && (write(fd, text, n) != (ssize_t) n || lseek(fd, 0, SEEK_SET) < 0)))
        return -errno;
    return fd_steal(&fd);
}

static void read_file(int fd, struct buf *out)
{
    ssize_t n;

    lseek(fd, 0, SEEK_SET);
    while (buf_room(out, 4096) && (n = read(fd, out->data + out->len, 4096)) > 0)
        out->len += (size_t) n;
}

/* Run the program in a child. Its output goes into files, so that nobody has to read it meanwhile.
 * 1 if the program ended normally, 0 if not, or -errno. */
static int run_program(const struct supervisor_options *options, struct buf *ret_out, struct buf *ret_err)
{
    _cleanup_fd_ int source = text_file(program);
    _cleanup_fd_ int out = text_file("");
    _cleanup_fd_ int err = text_file("");
    struct supervisor_options own = *options;
    int status;

    if (source < 0 || out < 0 || err < 0)
        return -EIO;
    pid_t pid = fork();
    if (pid == 0) {
        own.source_fd = source;
        if (dup2(out, 1) < 0 || dup2(err, 2) < 0)
            _exit(EXIT_FAILURE);
        _exit(supervisor_run(&own));
    }
    if (pid < 0)
        return -errno;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    read_file(out, ret_out);
    read_file(err, ret_err);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* The child's findings go into @r, its text on stderr into @words. */
static int visit_box(struct visit *v, const struct conf *conf, struct require *r, struct buf *words)
{
    const struct supervisor_options options = { .conf = conf, .require = r };
    _cleanup_buf_ struct buf text;

    buf_init(&text, 1 << 20);
    int ran = run_program(&options, &text, words);
    json_decref(v->python);
    v->python = json_loadb(buf_text(&text), text.len, 0, NULL);
    return ran < 0 ? ran : v->python && ran;
}

/* Each line of @text becomes an element. */
static json_t *lines_of(const char *text)
{
    json_t *list = json_array();

    for (size_t n; *text; text += n + (text[n] == '\n')) {
        n = strcspn(text, "\n");
        json_array_append_new(list, json_stringn(text, n));
    }
    return list;
}

/* Start each runtime, and see what is wrong with its imports: [{"name", "starts", "faults": [a
 * sentence each]}]. */
static json_t *visit_runtimes(const struct conf *conf)
{
    struct require *found = require_shared();
    struct supervisor_report *report =
        mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct runtimes runtimes = { 0 };
    struct buf error;
    json_t *list = json_array();

    buf_init(&error, 8192);
    if (found && report != MAP_FAILED)
        runtimes_find(conf, &runtimes, &error);
    for (unsigned i = 0; i < runtimes.n; i++) {
        const char *name = runtimes.list[i].wire.name;
        const struct supervisor_options options = { .conf = conf, .require = found, .runtime = name, .report = report };
        struct buf out, words;
        report->text[0] = '\0';
        buf_init(&out, 1 << 20);
        buf_init(&words, 65536);
        bool starts = run_program(&options, &out, &words) > 0;
        json_array_append_new(
            list, json_pack("{s:s, s:b, s:o}", "name", name, "starts", starts, "faults", lines_of(report->text)));
        buf_free(&out);
        buf_free(&words);
    }
    runtimes_free(&runtimes);
    buf_free(&error);
    if (report != MAP_FAILED)
        munmap(report, sizeof(*report));
    if (found)
        munmap(found, sizeof(*found));
    return list;
}

/* May an operator do without all missing layers? */
static bool can_do_without(const struct require *r)
{
    for (int i = 0; i < LAYERS; i++)
        if ((r->missing & LAYER_BIT(i)) && !layers[i].optional)
            return false;
    return true;
}

/* isolation.require without the missing layers. */
static void name_the_rest(const struct require *r, struct buf *ret)
{
    buf_reset(ret);
    for (int i = 0; i < LAYERS; i++)
        if (!(r->missing & LAYER_BIT(i)))
            buf_addf(ret, "%s ", layers[i].word);
}

/* Take over the layers that another visit found missing. */
static bool add_missing(struct require *r, const struct require *found)
{
    uint32_t more = found->missing & ~r->missing;

    for (int i = 0; i < LAYERS; i++)
        if (more & LAYER_BIT(i))
            r->why[i] = found->why[i];
    r->missing |= more;
    return more;
}

/* See the other layers hold. Each visit may find one more missing layer. */
static int visit_weaker(struct visit *v, const struct conf *conf)
{
    struct require *found = require_shared();
    struct conf weaker = *conf;
    _cleanup_buf_ struct buf names;
    bool more = true;
    int ran = found ? 0 : -ENOMEM;

    buf_init(&names, 1024);
    while (!ran && more && v->require->missing && can_do_without(v->require)) {
        _cleanup_buf_ struct buf words;
        buf_init(&words, 65536);
        name_the_rest(v->require, &names);
        weaker.isolation_require = (char *) (uintptr_t) buf_text(&names);
        ran = visit_box(v, &weaker, found, &words);
        if (ran >= 0)
            more = add_missing(v->require, found);
    }
    if (found)
        munmap(found, sizeof(*found));
    return ran;
}

/* No box can be made, so try one layer after the other. */
static void try_each(struct visit *v)
{
    for (int i = 0; i < LAYERS; i++) {
        int err = v->require->missing & LAYER_BIT(i) ? 1 : probe_layer((enum layer) i);
        if (err < 0)
            require_missing(v->require, (enum layer) i, err, NULL);
        else if (!err)
            v->granted |= LAYER_BIT(i);
    }
}

static int visit(struct visit *v, const struct conf *conf)
{
    int ran = visit_box(v, conf, v->require, &v->words);

    v->ran = v->seen = ran > 0;
    if (!ran)
        ran = visit_weaker(v, conf);
    v->seen = ran > 0;
    if (!ran)
        try_each(v);
    if (v->ran)
        v->runtimes = visit_runtimes(conf);
    return ran < 0 ? ran : 0;
}

/* --- what is said of a layer --- */

static const char *state_of(const struct visit *v, enum layer layer)
{
    if (v->require->missing & LAYER_BIT(layer))
        return v->require->why[layer].err ? "missing" : "off";
    if (v->seen)
        return "holds";
    return v->granted & LAYER_BIT(layer) ? "granted" : "unknown";
}

static bool is_ready(const struct visit *v)
{
    return v->ran && !(v->require->required & v->require->missing);
}

static const char *started_as(void)
{
    const struct passwd *user = getpwuid(geteuid());
    if (geteuid() == 0)
        return "root";
    return user ? user->pw_name : "an ordinary user";
}

/* If the doctor is started in the server's place, it sees the sockets that the server would get. */
static void note_sockets(json_t *notes)
{
    struct inherited given;
    _cleanup_buf_ struct buf words;

    buf_init(&words, 4096);
    if (inherit_listeners(&given, &words) == 0)
        inherit_describe(&given, &words);
    if (words.len)
        json_array_append_new(notes, json_stringn(words.data, words.len));
}

/* Facts about the host that weaken no layer by themselves. */
static void add_notes(const struct visit *v, json_t *notes)
{
    char text[256];

    if (fd_read_file(AT_FDCWD, "/sys/devices/system/cpu/smt/active", text, sizeof(text)) > 0 && text[0] == '1')
        json_array_append_new(
            notes, json_string("Hyperthreads share a core: programs that run side by side can measure "
                               "each other. For tenants that must not: nosmt on the kernel's command line."));
    if (v->require->cgroup_version == 1 && access("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes", F_OK) < 0
        && fd_read_file(AT_FDCWD, "/proc/swaps", text, sizeof(text)) > 0 && strchr(text, '\n') && strchr(text, '\n')[1])
        json_array_append_new(notes,
                              json_string("Swap is on and cgroup v1 does not count it: a program may use more than its "
                                          "memory. swapaccount=1 on the kernel's command line, or swapoff -a."));
    if (v->require->cgroup_version == 1)
        json_array_append_new(notes,
                              json_string("cgroup v1 works; v2 ends a box that is out of memory as a whole by itself. "
                                          "systemd.unified_cgroup_hierarchy=1 on the kernel's command line."));
}

/* How a box is held while its processes queue for a kernel lock (convoy.h), in one word. */
static const char *held_by(const struct visit *v)
{
    static const char *const words[] = {
        [CGROUPS_HOLD_BY_NOTHING] = "nothing", [CGROUPS_HOLD_BY_QUOTA] = "quota", [CGROUPS_HOLD_BY_FREEZER] = "freezer"
    };
    return words[v->require->hold_by];
}

static void note_holds(const struct visit *v, json_t *notes)
{
    if (!v->seen || v->require->hold_by != CGROUPS_HOLD_BY_NOTHING)
        return;
    json_array_append_new(
        notes, json_sprintf("Nothing holds a program whose processes queue for a kernel lock: it can delay each "
                            "process start of the host by seconds. %s. Until then isolation.root = DIR gives programs "
                            "files that the host does not map.",
                            v->require->cgroup_version ? "cgroup v2 would hold it, or cgroup v1 with Linux 6.18"
                                                       : "The layer cgroup would hold it"));
}

/* Name the runtimes whose programs have epoll. */
static void note_epoll(const struct conf *conf, json_t *notes)
{
    struct runtimes runtimes = { 0 };
    _cleanup_buf_ struct buf error;
    _cleanup_buf_ struct buf words;

    buf_init(&error, 8192);
    buf_init(&words, 4096);
    runtimes_find(conf, &runtimes, &error);
    for (unsigned i = 0; i < runtimes.n; i++)
        if (runtimes.list[i].epoll)
            buf_addf(&words, "%s%s", words.len ? ", " : "", runtimes.list[i].wire.name);
    if (words.len)
        json_array_append_new(
            notes, json_sprintf("Programs have epoll, which nothing counts (isolation.epoll), in: %.*s. One can keep a "
                                "processor busy with interrupts off, and take a lock of the whole host.",
                                (int) words.len, words.data));
    runtimes_free(&runtimes);
}

/* The line of configuration that would do without the missing layers, or NULL. */
static json_t *weaker(const struct visit *v, const struct conf *conf)
{
    _cleanup_buf_ struct buf line;

    buf_init(&line, OFFER_MAX);
    return require_offer(v->require, conf, &line) ? json_stringn(line.data, line.len) : NULL;
}

static json_t *report(const struct visit *v, const struct conf *conf)
{
    json_t *list = json_array(), *notes = json_array();
    struct utsname host;

    uname(&host);
    for (int i = 0; i < LAYERS; i++) {
        json_t *layer = json_pack("{s:s, s:s, s:b, s:s}", "layer", layers[i].word, "what", layers[i].what, "required",
                                  (v->require->required & LAYER_BIT(i)) != 0, "state", state_of(v, (enum layer) i));
        if (strcmp(state_of(v, (enum layer) i), "missing") == 0) {
            json_object_set_new(layer, "errno", json_string(strerrorname_np(-v->require->why[i].err)));
            json_object_set_new(layer, "change", json_string(v->require->why[i].change));
        }
        if (strcmp(state_of(v, (enum layer) i), "unknown") == 0)
            json_object_set_new(layer, "because", json_string("it is put on in namespaces, which can't be had"));
        json_array_append_new(list, layer);
    }
    add_notes(v, notes);
    note_epoll(conf, notes);
    note_holds(v, notes);
    note_sockets(notes);
    static const char *const cgroups[] = { "none", "v1", "v2" };
    return json_pack("{s:s, s:b, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o*, s:O*, s:O*}", "version", VERSION, "ready",
                     is_ready(v), "kernel", host.release, "machine", host.machine, "user", started_as(), "cgroup",
                     cgroups[v->require->cgroup_version], "held_by", held_by(v), "layers", list, "notes", notes,
                     "weaker", weaker(v, conf), "python", v->python, "runtimes", v->runtimes);
}

/* --- as text --- */

/* One cause a line. */
static void print_change(const char *errno_word, const char *change)
{
    size_t n = strcspn(change, "\n");

    printf("  %-16s %-8s %s; to change: %.*s\n", "", "", errno_word, (int) n, change);
    while (change[n]) {
        change += n + 1;
        n = strcspn(change, "\n");
        printf("  %-16s %-8s %.*s\n", "", "", (int) n, change);
    }
}

static void print_layer(const json_t *layer)
{
    const char *state = json_string_value(json_object_get(layer, "state"));
    bool required = json_is_true(json_object_get(layer, "required"));

    printf("  %-16s %-8s %s%s\n", json_string_value(json_object_get(layer, "layer")),
           required && strcmp(state, "missing") == 0 ? "MISSING" : state,
           json_string_value(json_object_get(layer, "what")), required ? "" : " (not required)");
    if (json_object_get(layer, "change"))
        print_change(json_string_value(json_object_get(layer, "errno")),
                     json_string_value(json_object_get(layer, "change")));
    if (json_object_get(layer, "because"))
        printf("  %-16s %-8s %s\n", "", "", json_string_value(json_object_get(layer, "because")));
}

static void print_packages(const json_t *python)
{
    static const char *const known[] = { "numpy", "pandas", "matplotlib" };
    const json_t *packages = json_object_get(python, "packages");
    bool missing = false;

    if (!python)
        return;
    printf("Python %s in a box, %zu packages", json_string_value(json_object_get(python, "version")),
           json_object_size(packages));
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
        const char *version = json_string_value(json_object_get(packages, known[i]));
        printf(", %s %s", known[i], version ? version : "not installed");
        missing |= !version;
    }
    printf("\n");
    if (missing)
        printf("  To install a package: apt-get install python3-NAME, then restart the server; or hatchery env "
               "add\n");
}

static const char *how_it_starts(const json_t *runtime)
{
    if (!json_is_true(json_object_get(runtime, "starts")))
        return "it does not start";
    return json_array_size(json_object_get(runtime, "faults")) ? "it starts, without some of its imports"
                                                               : "it starts, with all of its imports";
}

static void print_runtime(const json_t *runtime)
{
    const json_t *faults = json_object_get(runtime, "faults"), *fault;
    size_t i;

    printf("Runtime %s: %s\n", json_string_value(json_object_get(runtime, "name")), how_it_starts(runtime));
    json_array_foreach (faults, i, fault)
        printf("  %s\n", json_string_value(fault));
}

static void print_refusal(const json_t *r)
{
    const char *weaker = json_string_value(json_object_get(r, "weaker"));

    printf("The server refuses to start: what is MISSING is required.\n");
    if (weaker)
        printf("To run in a weaker jail, name it: %s\n  for example HATCHERY_ISOLATION_REQUIRE='%s' hatchery serve\n",
               weaker, strchr(weaker, '=') + 2);
}

static void print_text(const struct visit *v, const json_t *r)
{
    const json_t *item;
    size_t i;

    printf("Hatchery %s, Linux %s %s, cgroup %s, as %s\n", VERSION, json_string_value(json_object_get(r, "kernel")),
           json_string_value(json_object_get(r, "machine")), json_string_value(json_object_get(r, "cgroup")),
           json_string_value(json_object_get(r, "user")));
    print_packages(v->python);
    json_array_foreach (v->runtimes, i, item)
        print_runtime(item);
    printf("\n");
    json_array_foreach (json_object_get(r, "layers"), i, item)
        print_layer(item);
    if (v->require->hold_by != CGROUPS_HOLD_BY_NOTHING)
        printf("  A program whose processes queue for a kernel lock is held by: %s\n", held_by(v));
    printf("\n");
    json_array_foreach (json_object_get(r, "notes"), i, item)
        printf("Note: %s\n", json_string_value(item));
    if (v->granted)
        printf("No box could be made to see anything hold; what is granted the kernel gives to a process by itself.\n");
    if (is_ready(v))
        printf("Everything that is required holds. `hatchery selftest` runs into each wall.\n");
    else if (v->require->required & v->require->missing)
        print_refusal(r);
    else
        printf("No program could be run in a box:\n%s", buf_text(&v->words));
}

int doctor(const struct conf *conf, bool json)
{
    struct visit v = { .require = require_shared() };

    buf_init(&v.words, 65536);
    int err = !v.require ? -ENOMEM : visit(&v, conf);
    if (err) {
        fprintf(stderr, "hatchery: the doctor needs memory and a process: %s\n", strerror(-err));
        return EXIT_FAILURE;
    }
    json_t *r = report(&v, conf);
    if (json) {
        json_dumpf(r, stdout, JSON_INDENT(2));
        printf("\n");
    } else
        print_text(&v, r);
    bool ready = is_ready(&v);
    json_decref(r);
    json_decref(v.python);
    json_decref(v.runtimes);
    buf_free(&v.words);
    munmap(v.require, sizeof(struct require));
    return ready ? EXIT_SUCCESS : EXIT_FAILURE;
}
