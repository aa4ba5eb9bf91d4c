/* SPDX-License-Identifier: Apache-2.0 */
/* File descriptors: closing by scope, passing in messages, small files.
 *
 * Every process uses this.  What must never happen here: that a descriptor arrives with a message
 * and nobody owns it, because the receiver did not expect it.  Such a message is refused as a
 * whole, and its descriptors are closed. */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

void fd_close(int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        close(*fd);
        errno = saved;
        *fd = -1;
    }
}

void file_close(FILE **file)
{
    int saved = errno;

    if (*file)
        fclose(*file);
    *file = NULL;
    errno = saved;
}

void dir_close(DIR **dir)
{
    int saved = errno;

    if (*dir)
        closedir(*dir);
    *dir = NULL;
    errno = saved;
}

int fd_steal(int *fd)
{
    int value = *fd;
    *fd = -1;
    return value;
}

static int send_with(int flags, int sock, const void *msg, size_t size, const int *fds, unsigned n_fds)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * FD_PASS_MAX)];
    } control = { 0 };
    struct iovec iov = { .iov_base = (void *) (uintptr_t) msg, .iov_len = size };
    struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (n_fds > FD_PASS_MAX)
        return -EINVAL;
    if (n_fds) {
        mh.msg_control = control.space;
        mh.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        struct cmsghdr *c = CMSG_FIRSTHDR(&mh);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
    }
    ssize_t n;
    do
        n = sendmsg(sock, &mh, MSG_NOSIGNAL | flags);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

int fd_send(int sock, const void *msg, size_t size, const int *fds, unsigned n_fds)
{
    return send_with(0, sock, msg, size, fds, n_fds);
}

int fd_send_now(int sock, const void *msg, size_t size, const int *fds, unsigned n_fds)
{
    return send_with(MSG_DONTWAIT, sock, msg, size, fds, n_fds);
}

/* Take the descriptors of one control message. -EPROTO if they are too many. */
static int take_fds(const struct cmsghdr *c, int *fds, unsigned max_fds, unsigned *n_fds)
{
    unsigned n = (unsigned) ((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    int err = 0;

    for (unsigned i = 0; i < n; i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
        if (*n_fds < max_fds)
            fds[(*n_fds)++] = fd;
        else {
            close(fd);
            err = -EPROTO;
        }
    }
    return err;
}

ssize_t fd_recv(int sock, void *msg, size_t size, int *fds, unsigned max_fds, struct ucred *ret_cred)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * FD_PASS_MAX) + CMSG_SPACE(sizeof(struct ucred))];
    } control;
    struct iovec iov = { .iov_base = msg, .iov_len = size };
    struct msghdr mh = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof(control.space)
    };
    unsigned n_fds = 0;
    int err = 0;
    ssize_t n;

    for (unsigned i = 0; i < max_fds; i++)
        fds[i] = -1;
    do
        n = recvmsg(sock, &mh, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&mh); c; c = CMSG_NXTHDR(&mh, c)) {
        if (c->cmsg_level != SOL_SOCKET)
            continue;
        if (c->cmsg_type == SCM_RIGHTS && take_fds(c, fds, max_fds, &n_fds) < 0)
            err = -EPROTO;
        if (c->cmsg_type == SCM_CREDENTIALS && ret_cred)
            memcpy(ret_cred, CMSG_DATA(c), sizeof(*ret_cred));
    }
    if (mh.msg_flags & MSG_TRUNC)
        err = -EMSGSIZE;
    if (mh.msg_flags & MSG_CTRUNC)
        err = -EPROTO;
    if (err || n == 0) /* a message that looks like the end must not leave descriptors behind */
        for (unsigned i = 0; i < n_fds; i++)
            fd_close(&fds[i]);
    return err ? err : n;
}

int fd_write_file(int dir_fd, const char *name, const char *text)
{
    _cleanup_fd_ int fd = openat(dir_fd, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    size_t len = strlen(text);
    ssize_t n = write(fd, text, len);
    if (n < 0)
        return -errno;
    return (size_t) n == len ? 0 : -EIO;
}

int fd_open_file(int dir_fd, const char *name)
{
    _cleanup_fd_ int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0)
        return -errno;
    return fcntl(fd, F_SETFL, 0) < 0 ? -errno : fd_steal(&fd);
}

ssize_t fd_read_file(int dir_fd, const char *name, char *buf, size_t size)
{
    _cleanup_fd_ int fd = fd_open_file(dir_fd, name);
    size_t len = 0;
    if (fd < 0)
        return fd;
    while (len < size - 1) {
        ssize_t n = read(fd, buf + len, size - 1 - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        len += (size_t) n;
    }
    buf[len] = '\0';
    return (ssize_t) len;
}
