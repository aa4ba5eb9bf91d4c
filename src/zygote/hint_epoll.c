/* SPDX-License-Identifier: Apache-2.0 */
/* Hints about epoll, which most runtimes do not have (isolation.epoll).
 *
 * hint.c calls this file for an ImportError, for an AttributeError, and for uvloop.  Whether epoll
 * is there, the kernel says: this file tries it.  What must never happen here: a descriptor that
 * stays open. */
#include "zygote/hint_parts.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

const char no_epoll[] = "programs here have no epoll: use asyncio or selectors, which do without it; the server's "
                        "operator can allow it (isolation.epoll)";

static const char no_trio[] = "trio does not work here, for it needs epoll and options of sockets: use asyncio";

bool has_epoll(void)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);

    if (fd >= 0)
        close(fd);
    return fd >= 0 || errno != ENOSYS;
}

/* `from select import epoll`, `from selectors import EpollSelector` */
static bool is_import_of_epoll(PyObject *value)
{
    static const char missing[] = "cannot import name 'epoll";
    const PyImportErrorObject *e = (const PyImportErrorObject *) value;

    return (is_text(e->name, "select") || is_text(e->name, "selectors"))
           && strncasecmp(bytes_of(e->msg), missing, sizeof(missing) - 1) == 0;
}

/* `select.epoll`, `select.EPOLLIN`, `selectors.EpollSelector` */
static bool is_name_of_epoll(PyObject *value)
{
    const PyAttributeErrorObject *e = (const PyAttributeErrorObject *) value;
    PyObject *modules = PyImport_GetModuleDict();

    return e->obj
           && (e->obj == PyDict_GetItemString(modules, "select")
               || e->obj == PyDict_GetItemString(modules, "selectors"))
           && strncasecmp(bytes_of(e->name), "epoll", 5) == 0;
}

void hint_epoll(struct buf *out, PyObject *value, PyObject *source)
{
    bool wanted =
        (PyObject *) Py_TYPE(value) == PyExc_ImportError ? is_import_of_epoll(value) : is_name_of_epoll(value);

    if (wanted && !by_hand(value, source) && !has_epoll())
        buf_adds(out, passes(value, "/trio/") ? no_trio : no_epoll);
}
