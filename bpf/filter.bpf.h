/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The short answers of the filter, where nothing is left out and a share of the budget is at
 * hand; filter.bpf.c has the long ones.
 */
#ifndef RAVN_FILTER_BPF_H
#define RAVN_FILTER_BPF_H

#include "common.bpf.h"

/* A window is 2^30 ns, about a second: a shift instead of a division. */
#define WINDOW_SHIFT 30

MONITOR bool program__excluded(struct task_struct *task);
MONITOR bool cgroup__excluded(struct task_struct *task);
MONITOR bool budget__empty(struct cpu_state *s, struct task_struct *task, __u32 kind, __u64 window);

/* Whether configuration leaves this kind out, for this task or for all. What proves that the
 * rings live is never left out. */
static __always_inline bool kind__left_out(struct task_struct *task, __u32 kind)
{
	struct ravn_filter *set = THE(filter);
	bool out;

	if (!set)
		return false;
	out = set->kinds_off[kind >> 6 & 1] >> (kind & 63) & 1;
	/* Connections end in interrupts, where the current task is anybody. */
	if (!out && kind != KIND_CLOSE)
		out = (set->programs && program__excluded(task)) || (set->cgroups && cgroup__excluded(task));
	return out && !task__prover(task);
}

/* Counts a record of little value for its process. True when the process has said as much
 * as it may in this window: the record is cut, and counted by process and kind. */
static __always_inline bool budget__spent(struct cpu_state *s, struct task_struct *task, __u32 kind,
					  __u64 time_ns)
{
	__u64 window = time_ns >> WINDOW_SHIFT;

	/* A connection's end is nobody's word: the current task is anybody. */
	if (kind == KIND_CLOSE)
		return false;
	if (s->share.left && s->share.tgid == task->tgid && s->share.window == window) {
		s->share.left--;
		return false;
	}
	return budget__empty(s, task, kind, window);
}

#endif
