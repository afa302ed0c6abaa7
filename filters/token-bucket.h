/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Token buckets. Shared by the filters in this folder.
 *
 * A bucket holds `burst` tokens and gains `rate` a second. It is kept as one number: the time at
 * which it will be full again. A token that is taken moves that time on by 1/rate, so there is
 * nothing to refill and no fraction to keep.
 */
#ifndef WEIR_TOKEN_BUCKET_H
#define WEIR_TOKEN_BUCKET_H

#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#include <stdbool.h>

#define NS_PER_SECOND 1000000000ULL

/* Time that it takes to gain so many tokens; rounded down, so that nobody gets less than `rate`. */
static __always_inline __u64 time_for(__u64 tokens, __u64 rate)
{
	return tokens * NS_PER_SECOND / rate;
}

/* Whether `tokens` can be taken now from a bucket that is full at `full_at`. */
static __always_inline bool can_take(__u64 full_at, __u64 now, __u64 tokens, __u64 rate,
				     __u64 burst)
{
	__u64 missing = full_at > now ? full_at - now : 0;

	return missing + time_for(tokens, rate) <= time_for(burst, rate);
}

/* When a bucket is full again after `tokens` were taken from it now. */
static __always_inline __u64 take(__u64 full_at, __u64 now, __u64 tokens, __u64 rate)
{
	return (full_at > now ? full_at : now) + time_for(tokens, rate);
}

#endif
