/* SPDX-License-Identifier: Apache-2.0 */
/* One attempt to deliver one webhook, from its order to its result. */
#ifndef HATCHERY_COURIER_DELIVERY_H
#define HATCHERY_COURIER_DELIVERY_H

#include "courier/courier.h"

#include "base/guard.h"

#include <curl/curl.h>
#include <sys/queue.h>

struct lane;

struct delivery {
    TAILQ_ENTRY(delivery)
    link;              /* in the one list that has it: its lane's, the running, the
                                 * finished */
    struct lane *lane; /* set by lane.c */
    const struct courier_conf *conf;
    struct guard_allow *const *allow; /* the courier's; a new configuration changes it */
    struct courier_order order;
    struct guard_url url;
    const void *body; /* the descriptor's pages, body_len bytes */
    CURL *easy;
    struct curl_slist *headers;
    int64_t start_us;
    size_t head_bytes, answer_bytes;
    bool answered;           /* the head of a final answer is complete */
    unsigned opened, banned; /* addresses that were tried, and addresses that were forbidden */
    char tls_error[CURL_ERROR_SIZE];
    struct courier_result result;
};
TAILQ_HEAD(deliveries, delivery);

/* Take @order and @body_fd, which is closed here; @conf and @allow must live longer.  If the
 * returned delivery has a result.type, it is over already: the order is malformed or its URL is
 * refused.  Never blocks. */
struct delivery *delivery_new(const struct courier_conf *conf, struct guard_allow *const *allow,
                              const struct courier_order *order, int body_fd);

/* Sign it and hand it to @multi.  delivery_end() then sets its result. */
void delivery_start(struct delivery *delivery, CURLM *multi);

/* libcurl is done with it: fill in the result, and write the attempt's line to the log. */
void delivery_end(struct delivery *delivery, CURLM *multi, CURLcode code);

/* End it without an attempt: @error is the sentence. */
void delivery_fail(struct delivery *delivery, enum courier_verdict verdict, const char *error);

/* Free it in any state; a running attempt is cut off.  @multi may be NULL if it was not started. */
struct delivery *delivery_free(struct delivery *delivery, CURLM *multi);

#endif
