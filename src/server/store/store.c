/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the store that all engines share: the words for states, and the arithmetic of
 * limits. */
#include "server/store/store.h"

#include "base/fair.h"

#include <errno.h>
#include <string.h>

enum { JOB_BYTES = 1024 };      /* a row and its places in the indexes, with an idempotency key */
enum { DELIVERY_BYTES = 4096 }; /* its delivery, and the attempts of a schedule */
enum { OWED_MIN = 10000 };

static const char *const words[STORE_N_STATES] = {
    [STORE_QUEUED] = "queued", [STORE_RUNNING] = "running",     [STORE_DONE] = "done",
    [STORE_FAILED] = "failed", [STORE_CANCELLED] = "cancelled", [STORE_DEAD] = "dead",
};

const char *store_state_word(enum store_state state)
{
    return words[state];
}

int store_state_of(const char *word)
{
    for (int i = 0; i < STORE_N_STATES; i++)
        if (strcmp(words[i], word) == 0)
            return i;
    return -1;
}

static size_t length(const char *s)
{
    return s ? strlen(s) : 0;
}

int64_t store_charge(const struct store_job *job)
{
    size_t n = JOB_BYTES + job->code.n + job->client_id.n;

    if (job->webhook_url)
        n += DELIVERY_BYTES + length(job->webhook_url) + length(job->host);
    return (int64_t) n;
}

int64_t store_owed_max(int64_t retention_count)
{
    return retention_count && retention_count < OWED_MIN ? OWED_MIN : retention_count;
}

int store_may_wait(const struct store_limits *limits, int64_t queued, int64_t mine, int64_t tenants)
{
    int64_t all = queued + limits->waiting;

    mine += limits->tenant_waiting;
    tenants = tenants > limits->tenants_waiting ? tenants : limits->tenants_waiting;
    if (!fair_may_wait(limits->max_queued, all, mine, tenants ? tenants : 1))
        return -EAGAIN;
    return limits->max_tenant_queued && mine >= limits->max_tenant_queued ? -EDQUOT : 0;
}
