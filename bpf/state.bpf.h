/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The maps that every record needs, and what is asked of them at every step.
 *
 * Each file defines them weakly and the linker joins them, so that a look-up is five
 * instructions where it stands and no call: where returns are made safe in software
 * (x86/kernel: "safe RET", retpolines) a call costs as much as all of them. clang 14 does not
 * leave an extern map undefined.
 */
#ifndef RAVN_STATE_BPF_H
#define RAVN_STATE_BPF_H

/* A string copied from user space at most, and a path walked. PATH_MAX is 4096. */
#define USER_STRING_MAX 4096
#define PATH_BYTES 4096

/* Where strings may begin in the scratch, and the room behind the last of them.
 * Largest record: four strings of 4 KiB (a rename) behind 136 bytes. */
#define SCRATCH_BYTES 16384
#define SCRATCH_SLACK 8192

struct scratch {
	struct ravn_hdr hdr;
	__u8 body[SCRATCH_BYTES + SCRATCH_SLACK];
	/* Arguments of common.bpf.h's global functions: the verifier passes no kernel pointer as
	 * a number, and what comes out of a map is one. Never handed over. */
	__u64 pointers[2];
	/* Length of the path so far: in memory it is any number to the verifier, so the walk's
	 * states meet again after each step instead of multiplying. */
	volatile __u64 path_len;
};

#define SHARED_MAP(name, map_type, element)    \
	struct name##_map {                    \
		__uint(type, map_type);        \
		__uint(max_entries, 1);        \
		__type(key, __u32);            \
		__type(value, struct element); \
	};                                     \
	struct name##_map name __weak SEC(".maps")

SHARED_MAP(cpu_states, BPF_MAP_TYPE_PERCPU_ARRAY, cpu_state);
/* Where a record is built. Programs of different hooks may nest (a fork inside a syscall does
 * not, an interrupt may), but the busy flag lets only one of them build a record. */
SHARED_MAP(scratches, BPF_MAP_TYPE_PERCPU_ARRAY, scratch);
SHARED_MAP(settings, BPF_MAP_TYPE_ARRAY, ravn_settings);
SHARED_MAP(meta, BPF_MAP_TYPE_ARRAY, ravn_meta);
SHARED_MAP(filter, BPF_MAP_TYPE_ARRAY, ravn_filter);

/* The only element of such a map. */
#define THE(name)                                     \
	({                                            \
		__u32 zero_ = 0;                      \
		bpf_map_lookup_elem(&(name), &zero_); \
	})

/* This load's own id. Set before load. */
extern const volatile __u64 load_id;

static __always_inline struct cpu_state *cpu_state(void)
{
	return THE(cpu_states);
}

/* The record that this CPU is building. */
static __always_inline struct scratch *scratch__current(void)
{
	return THE(scratches);
}

/* Whether this load records: an earlier one may be attached still. */
static __always_inline bool load__active(void)
{
	struct ravn_meta *shared = THE(meta);

	return shared && shared->active_load == load_id;
}

/* Whether this is the collector's thread whose acts prove that the rings live. */
static __always_inline bool task__prover(struct task_struct *task)
{
	struct ravn_settings *set = THE(settings);

	return set && task->pid == set->prover;
}

/* Whether a cgroup is one of those that the sensor is narrowed to, or below one. */
__hidden bool cgroup__among_only(struct cgroup *cgroup);

/*
 * Whether what happens in this cgroup is reported at all: if this load is the active one,
 * always, unless the sensor is narrowed to other cgroups. A cgroup's descendants belong to
 * it, up to 8 deep. Not asked where a thread's run continues: whoever changes the answer
 * flushes every CPU, which ends the runs.
 */
static __always_inline bool cgroup__wanted(struct cgroup *cgroup)
{
	struct ravn_settings *set = THE(settings);

	return set && load__active() && (!set->narrowed || cgroup__among_only(cgroup));
}

/* The same for a task. The prover's acts are always looked at. */
static __always_inline bool task__wanted(struct task_struct *task)
{
	struct ravn_settings *set = THE(settings);

	return set && load__active() &&
	       (!set->narrowed || task->pid == set->prover ||
		cgroup__among_only(bpf_core_cast(task->cgroups->dfl_cgrp, struct cgroup)));
}

/* The same for the current task, which is looked up only where the answer depends on it. */
static __always_inline bool current__wanted(void)
{
	struct ravn_settings *set = THE(settings);

	return set && (set->narrowed ? task__wanted(bpf_get_current_task_btf()) : load__active());
}

#endif
