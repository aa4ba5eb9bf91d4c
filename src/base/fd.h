/* SPDX-License-Identifier: Apache-2.0 */
/* File descriptors: closing them by scope, passing them in messages, small files.
 * Every descriptor made here is close-on-exec.  Functions return -errno on failure. */
#ifndef HATCHERY_BASE_FD_H
#define HATCHERY_BASE_FD_H

#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/types.h>

/* Close *@fd unless negative and set it to -1; keeps errno. */
void fd_close(int *fd);

/* Declares an int that is closed at the end of its scope. */
#define _cleanup_fd_ __attribute__((cleanup(fd_close)))

/* The same for a stream (fclose(3)) and a directory (closedir(3)); NULL is fine. */
void file_close(FILE **file);
void dir_close(DIR **dir);
#define _cleanup_file_ __attribute__((cleanup(file_close)))
#define _cleanup_dir_ __attribute__((cleanup(dir_close)))

/* Return the value of *@fd, which the caller owns from now on; *@fd becomes -1. */
int fd_steal(int *fd);

/* Send one message with up to FD_PASS_MAX descriptors (unix(7), SCM_RIGHTS) on a
 * SOCK_SEQPACKET socket.  The descriptors stay open here.  Returns 0 or -errno. */
enum { FD_PASS_MAX = 8 };
int fd_send(int sock, const void *msg, size_t size, const int *fds, unsigned n_fds);

/* The same, but -EAGAIN instead of waiting, whatever the socket's flags are: other holders of the
 * socket share its flags. */
int fd_send_now(int sock, const void *msg, size_t size, const int *fds, unsigned n_fds);

/* Receive one message into @msg.  Its descriptors go into @fds, the unused rest of which is set to
 * -1.  If there are more than @max_fds, the message is an error, and all are closed.  @ret_cred, if
 * not NULL, receives the sender's ids as the kernel translates them (SO_PASSCRED must be on).
 * Returns the message's size, 0 at the end of the stream, or -errno (-EMSGSIZE: larger than @size,
 * -EPROTO: wrong number of descriptors). */
ssize_t fd_recv(int sock, void *msg, size_t size, int *fds, unsigned max_fds, struct ucred *ret_cred);

/* Write @text to the existing file @name below @dir_fd (AT_FDCWD: a path). 0 or -errno. */
int fd_write_file(int dir_fd, const char *name, const char *text);

/* Open the file @name below @dir_fd for reading.  Does not wait for a writer of a pipe: a pipe
 * without one is at its end.  Returns the descriptor or -errno. */
int fd_open_file(int dir_fd, const char *name);

/* Read at most @size - 1 bytes of @name and end them with NUL. Returns the length or -errno. */
ssize_t fd_read_file(int dir_fd, const char *name, char *buf, size_t size);

#endif
