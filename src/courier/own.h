/* SPDX-License-Identifier: Apache-2.0 */
/* Is an address one of this host's own? */
#ifndef HATCHERY_COURIER_OWN_H
#define HATCHERY_COURIER_OWN_H

#include <stdbool.h>
#include <sys/socket.h>

/* Does the route to @address (IPv4, IPv6 or IPv4 written as IPv6) end on this host?  Asks the
 * kernel twice, and the answer holds for this moment.  First it connects a UDP socket to the
 * address: connect(2) of UDP sends no packet, and if the address is ours, the kernel would send
 * from that same address (ip(7), udp(7)), unless it is an interface's second address in a network.
 * Then it binds a UDP socket to it: bind(2) accepts only the host's own addresses (EADDRNOTAVAIL),
 * unless the sysctl ip_nonlocal_bind is set (ip(7)).  With that sysctl the first question alone
 * decides.  No netlink, no list that grows old.  Does not block. 1 if it is ours; 0 if it is not,
 * or if there is no route to it; -errno if the kernel could not tell. */
int own_address(const struct sockaddr *address);

#endif
