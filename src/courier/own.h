/* SPDX-License-Identifier: Apache-2.0 */
/* Which addresses are this host's own. */
#ifndef HATCHERY_COURIER_OWN_H
#define HATCHERY_COURIER_OWN_H

#include <stdbool.h>
#include <sys/socket.h>

/* Does the way to @address (IPv4, IPv6 or IPv4 written as IPv6) end on this host?  Asks the kernel, as things are at
 * this moment, twice.  With a UDP socket that is connected to it: connect(2) of UDP sends no packet, and the address that
 * the kernel would send from is the destination itself where that is ours (ip(7), udp(7)), unless it is an interface's
 * second address in a network.  And with a UDP socket that is bound to it: bind(2) gives a socket the host's own addresses
 * only (EADDRNOTAVAIL), unless the sysctl ip_nonlocal_bind is set (ip(7)); there the first question alone decides.
 * No netlink, no list that grows old.  Does not block.  1; 0, also where there is no way to it; -errno where it can't be
 * told. */
int own_address(const struct sockaddr *address);

#endif
