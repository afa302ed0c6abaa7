/** A helper of Linux that there is no such thing of here, and why. */
export interface UnavailableHelper {
  readonly id: number;
  /** Without its `bpf_`. */
  readonly name: string;
  /** What it does that cannot be done here: the end of a sentence that begins with its name. */
  readonly reason: string;
}

type Group = readonly [reason: string, helpers: readonly (readonly [id: number, name: string])[]];

/** By reason; ids and names are those of enum bpf_func_id, linux/bpf.h, up to Linux 6.18. */
const groups: readonly Group[] = [
  [
    "reads or writes memory of the kernel or of other processes",
    [
      [4, "probe_read"],
      [36, "probe_write_user"],
      [45, "probe_read_str"],
      [112, "probe_read_user"],
      [113, "probe_read_kernel"],
      [114, "probe_read_user_str"],
      [115, "probe_read_kernel_str"],
      [148, "copy_from_user"],
      [191, "copy_from_user_task"],
    ],
  ],
  [
    "asks for the task that runs, and packets here belong to none",
    [
      [14, "get_current_pid_tgid"],
      [15, "get_current_uid_gid"],
      [16, "get_current_comm"],
      [35, "get_current_task"],
      [37, "current_task_under_cgroup"],
      [80, "get_current_cgroup_id"],
      [120, "get_ns_current_pid_tgid"],
      [123, "get_current_ancestor_cgroup_id"],
      [141, "get_task_stack"],
      [158, "get_current_task_btf"],
      [175, "task_pt_regs"],
      [180, "find_vma"],
    ],
  ],
  [
    "needs a kernel socket",
    [
      [49, "setsockopt"],
      [57, "getsockopt"],
      [59, "sock_ops_cb_flags_set"],
      [64, "bind"],
      [82, "sk_select_reuseport"],
      [84, "sk_lookup_tcp"],
      [85, "sk_lookup_udp"],
      [86, "sk_release"],
      [99, "skc_lookup_tcp"],
      [100, "tcp_check_syncookie"],
      [107, "sk_storage_get"],
      [108, "sk_storage_delete"],
      [110, "tcp_gen_syncookie"],
      [116, "tcp_send_ack"],
      [124, "sk_assign"],
      [128, "sk_cgroup_id"],
      [129, "sk_ancestor_cgroup_id"],
      [136, "skc_to_tcp6_sock"],
      [137, "skc_to_tcp_sock"],
      [138, "skc_to_tcp_timewait_sock"],
      [139, "skc_to_tcp_request_sock"],
      [140, "skc_to_udp6_sock"],
      [142, "load_hdr_opt"],
      [143, "store_hdr_opt"],
      [144, "reserve_hdr_opt"],
      [162, "sock_from_file"],
      [178, "skc_to_unix_sock"],
      [196, "skc_to_mptcp_sock"],
    ],
  ],
  [
    "works on a sockmap, which holds kernel sockets",
    [
      [52, "sk_redirect_map"],
      [53, "sock_map_update"],
      [60, "msg_redirect_map"],
      [61, "msg_apply_bytes"],
      [62, "msg_cork_bytes"],
      [63, "msg_pull_data"],
      [70, "sock_hash_update"],
      [71, "msg_redirect_hash"],
      [72, "sk_redirect_hash"],
      [90, "msg_push_data"],
      [91, "msg_pop_data"],
    ],
  ],
  [
    "needs the kernel's secret of SYN cookies",
    [
      [204, "tcp_raw_gen_syncookie_ipv4"],
      [205, "tcp_raw_gen_syncookie_ipv6"],
      [206, "tcp_raw_check_syncookie_ipv4"],
      [207, "tcp_raw_check_syncookie_ipv6"],
    ],
  ],
  [
    "asks for a cgroup or namespace, which packets here have none of",
    [
      [17, "get_cgroup_classid"],
      [33, "skb_under_cgroup"],
      [79, "skb_cgroup_id"],
      [83, "skb_ancestor_cgroup_id"],
      [122, "get_netns_cookie"],
      [151, "skb_cgroup_classid"],
    ],
  ],
  [
    "keeps storage of kernel objects",
    [
      [81, "get_local_storage"],
      [145, "inode_storage_get"],
      [146, "inode_storage_delete"],
      [156, "task_storage_get"],
      [157, "task_storage_delete"],
      [210, "cgrp_storage_get"],
      [211, "cgrp_storage_delete"],
    ],
  ],
  [
    "reads performance counters of the kernel",
    [
      [22, "perf_event_read"],
      [55, "perf_event_read_value"],
      [56, "perf_prog_read_value"],
    ],
  ],
  [
    "walks stacks of the kernel",
    [
      [27, "get_stackid"],
      [67, "get_stack"],
      [119, "read_branch_records"],
      [176, "get_branch_snapshot"],
    ],
  ],
  ["needs a transformation (IPsec) of the kernel", [[66, "skb_get_xfrm_state"]]],
  [
    "belongs to lightweight tunnels of the kernel's routes",
    [
      [73, "lwt_push_encap"],
      [74, "lwt_seg6_store_bytes"],
      [75, "lwt_seg6_adjust_srh"],
      [76, "lwt_seg6_action"],
    ],
  ],
  [
    "belongs to infrared remote controls",
    [
      [77, "rc_repeat"],
      [78, "rc_keydown"],
      [92, "rc_pointer_rel"],
    ],
  ],
  [
    "belongs to sysctl programs",
    [
      [101, "sysctl_get_name"],
      [102, "sysctl_get_current_value"],
      [103, "sysctl_get_new_value"],
      [104, "sysctl_set_new_value"],
    ],
  ],
  [
    "belongs to programs that trace or guard the kernel",
    [
      [58, "override_return"],
      [109, "send_signal"],
      [111, "skb_output"],
      [117, "send_signal_thread"],
      [121, "xdp_output"],
      [126, "seq_printf"],
      [127, "seq_write"],
      [147, "d_path"],
      [149, "snprintf_btf"],
      [150, "seq_printf_btf"],
      [159, "bprm_opts_set"],
      [161, "ima_inode_hash"],
      [166, "sys_bpf"],
      [167, "btf_find_by_name_kind"],
      [168, "sys_close"],
      [173, "get_func_ip"],
      [174, "get_attach_cookie"],
      [179, "kallsyms_lookup_name"],
      [183, "get_func_arg"],
      [184, "get_func_ret"],
      [185, "get_func_arg_cnt"],
      [193, "ima_file_hash"],
    ],
  ],
  [
    "belongs to hooks of cgroups other than packets",
    [
      [186, "get_retval"],
      [187, "set_retval"],
    ],
  ],
  [
    "needs types or variables of the kernel",
    [
      [153, "per_cpu_ptr"],
      [154, "this_cpu_ptr"],
      [194, "kptr_xchg"],
    ],
  ],
  [
    "starts timers of the kernel",
    [
      [169, "timer_init"],
      [170, "timer_set_callback"],
      [171, "timer_start"],
      [172, "timer_cancel"],
    ],
  ],
  [
    "works on a dynptr, which Weir's verifier does not follow: no packet helper needs one",
    [
      [197, "dynptr_from_mem"],
      [198, "ringbuf_reserve_dynptr"],
      [199, "ringbuf_submit_dynptr"],
      [200, "ringbuf_discard_dynptr"],
      [201, "dynptr_read"],
      [202, "dynptr_write"],
      [203, "dynptr_data"],
    ],
  ],
  ["reads maps of type user_ringbuf, of which there are none", [[209, "user_ringbuf_drain"]]],
];

/** Every helper of Linux that programs cannot call here, by id. */
export const unavailableHelpers: ReadonlyMap<number, UnavailableHelper> = new Map(
  groups
    .flatMap(([reason, helpers]) => helpers.map(([id, name]) => ({ id, name, reason })))
    .sort((a, b) => a.id - b.id)
    .map((helper) => [helper.id, helper]),
);
