/**
 * Where things lie in the arena: byte offsets within a map's descriptor and a packet's slot.
 * Read by both sides: compiled into the WebAssembly runtime by asc, imported by TypeScript.
 * Plain `export const NAME = number` only, which both languages read the same way.
 */

// Map descriptor: all fields u32, 8-byte aligned, 128 bytes. A map pointer in an eBPF register is
// the offset of its descriptor.
export const MAP_TYPE = 0;
export const MAP_KEY_SIZE = 4;
export const MAP_VALUE_SIZE = 8;
export const MAP_MAX_ENTRIES = 12;
export const MAP_FLAGS = 16;
/** Per-CPU values an entry holds; 1 for maps that are not per CPU. */
export const MAP_CPUS = 20;
/** Geometry of values, the same for all types: object i lies at VALUES + i × VALUE_STRIDE and is VALUE_SIZE long. */
export const MAP_VALUES = 24;
export const MAP_VALUE_STRIDE = 28;
export const MAP_VALUE_COUNT = 32;
/** Owner of the map's write lock (0: free, else worker id + 1). */
export const MAP_LOCK = 36;
/** Even: at rest. Odd: a structural change is under way. */
export const MAP_SEQUENCE = 40;
/** Entries live now. */
export const MAP_COUNT = 44;
export const MAP_FREE = 48;
export const MAP_BUCKETS = 52;
export const MAP_BUCKET_MASK = 56;
/** Elements (hash entries, trie nodes): element i lies at ELEMENTS + i × ELEMENT_STRIDE. */
export const MAP_ELEMENTS = 60;
export const MAP_ELEMENT_STRIDE = 64;
export const MAP_ELEMENT_COUNT = 68;
export const MAP_SEED = 72;
export const MAP_ROOT = 76;
/** One spare element a CPU, so that replacing an entry never fails for lack of space. */
export const MAP_SPARES = 80;
export const MAP_DESCRIPTOR_BYTES = 128;

// Packet slot: a descriptor, then headroom, frame and tailroom. The first 24 bytes are the
// program's `struct xdp_md`, so that a filter reads its context in place.
export const SLOT_DATA = 0;
export const SLOT_DATA_END = 4;
export const SLOT_DATA_META = 8;
export const SLOT_INGRESS_IFINDEX = 12;
export const SLOT_RX_QUEUE_INDEX = 16;
export const SLOT_EGRESS_IFINDEX = 20;
export const SLOT_XDP_MD_BYTES = 24;
/** Bit 0 (SLOT_WROTE): a program wrote to the frame or moved its ends. */
export const SLOT_FLAGS = 24;
export const SLOT_WROTE = 1;
/** Lowest address `data_meta` and `data` may take. */
export const SLOT_FRAME_START = 28;
/** One past the highest address `data_end` may take. */
export const SLOT_FRAME_LIMIT = 32;
/** Return value of the last program, low and high word. */
export const SLOT_RETURN_LOW = 36;
export const SLOT_RETURN_HIGH = 40;
/** Target of the redirect helpers: an ifindex, 0 for none. Cleared before each program. */
export const SLOT_REDIRECT_IFINDEX = 44;
/** Flags given to the redirect helpers. */
export const SLOT_REDIRECT_FLAGS = 48;
/** `struct __sk_buff` for programs of the skb types: 192 bytes, linux/bpf.h. */
export const SLOT_SKB = 64;
export const SLOT_SKB_BYTES = 192;
export const SLOT_HEADER_BYTES = 256;

/** Bytes between the slot's header and a frame placed by a listener: XDP_PACKET_HEADROOM. */
export const FRAME_HEADROOM = 256;
/** Largest frame a slot takes: Ethernet 14 + IPv6 40 + UDP 8 + 65,507 payload, rounded up. */
export const FRAME_CAPACITY = 65600;
export const FRAME_TAILROOM = 512;
/** 256 + 256 + 65,600 + 512: a multiple of 64. */
export const SLOT_BYTES = 66624;

// Map types: values of enum bpf_map_type, linux/bpf.h.
export const TYPE_HASH = 1;
export const TYPE_ARRAY = 2;
export const TYPE_PROG_ARRAY = 3;
export const TYPE_PERF_EVENT_ARRAY = 4;
export const TYPE_PERCPU_HASH = 5;
export const TYPE_PERCPU_ARRAY = 6;
export const TYPE_LRU_HASH = 9;
export const TYPE_LRU_PERCPU_HASH = 10;
export const TYPE_LPM_TRIE = 11;
export const TYPE_ARRAY_OF_MAPS = 12;
export const TYPE_HASH_OF_MAPS = 13;
export const TYPE_DEVMAP = 14;
export const TYPE_DEVMAP_HASH = 25;

// Map flags (map_flags) and update flags, linux/bpf.h.
export const F_NO_PREALLOC = 1;
export const F_RDONLY_PROG = 128;
export const F_WRONLY_PROG = 256;
export const UPDATE_ANY = 0;
export const UPDATE_NOEXIST = 1;
export const UPDATE_EXIST = 2;
