/**
 * Where things lie in the arena: byte offsets within a map's descriptor and a packet's slot.
 * Read by both sides: compiled into the WebAssembly runtime by asc, imported by TypeScript.
 * Plain `export const NAME = number` only, which both languages read the same way.
 */

// Map descriptor: u32 fields, 192 bytes, aligned to 64. A map pointer in an eBPF register is the
// offset of its descriptor. What every lookup reads and nothing writes after creation fills the
// first two cache lines; what writers change is on the third.
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
/** The value of CPU c lies c × CPU_STRIDE after CPU 0's; 0 for maps that are not per CPU. */
export const MAP_CPU_STRIDE = 36;
export const MAP_BUCKETS = 40;
export const MAP_BUCKET_MASK = 44;
/** Elements (hash entries, trie entries): element i lies at ELEMENTS + i × ELEMENT_STRIDE. */
export const MAP_ELEMENTS = 48;
export const MAP_ELEMENT_STRIDE = 52;
export const MAP_ELEMENT_COUNT = 56;
/** From an element to its value, or for per-CPU hashes to the address of CPU 0's. */
export const MAP_VALUE_OFFSET = 60;
/** Four random words that key the hash function. */
export const MAP_SECRETS = 64;
export const MAP_SEED = 80;
/** One byte an element: STATE_*. What an element is, whatever the links say: repair goes by it. */
export const MAP_STATES = 84;
/** LRU maps: one byte an element, set when a program looks it up. */
export const MAP_REFERENCED = 88;
/** One word a CPU and one for the main thread: the element that its next replacement fills. */
export const MAP_SPARES = 92;
/** Trie nodes that hold no entry, only a fork. */
export const MAP_FORKS = 96;
export const MAP_FORK_STRIDE = 100;
/** Workers there are: each has a spare, and the main thread one more. */
export const MAP_WORKERS = 104;
/** Where the main thread puts keys and values that it passes to map operations. */
export const MAP_SCRATCH = 108;
/** Where `struct bpf_spin_lock` lies in a value, plus 1; 0 where there is none. */
export const MAP_SPIN_LOCK = 112;
/** Rings of perf_event_array (one a worker) and ringbuf (one): ring i lies at RINGS + i × RING_STRIDE. */
export const MAP_RINGS = 116;
export const MAP_RING_STRIDE = 120;
export const MAP_RING_COUNT = 124;
/** Owner of the map's write lock (0: free, else worker id + 1). */
export const MAP_LOCK = 128;
/** Not 0: some thread sleeps until the lock is free. */
export const MAP_WAITERS = 132;
/** Grows by 2 before each change that a walking reader could stumble over; odd while under repair. */
export const MAP_SEQUENCE = 136;
/** Entries live now. */
export const MAP_COUNT = 140;
/** First of the elements given back; they are linked. 0: none. */
export const MAP_FREE = 144;
/** Elements handed out at least once: those from here on were never touched. */
export const MAP_FRESH = 148;
/** A replacement under way, one 64-bit word: the new element (low half), the old one (high). */
export const MAP_PENDING = 152;
export const MAP_ROOT = 160;
export const MAP_FREE_FORK = 164;
export const MAP_FRESH_FORK = 168;
/** LRU maps: the element that eviction looks at next. */
export const MAP_HAND = 172;
/** Queue and stack: the slot that the next push fills, and that of the oldest element. */
export const MAP_HEAD = 176;
export const MAP_TAIL = 180;
/** Bloom filter: hash functions a value goes through. Its bits are BUCKETS, BUCKET_MASK their mask. */
export const MAP_HASHES = 184;
/** Hash and trie: where an update, under the lock, has its key as it read it. */
export const MAP_KEY = 188;
export const MAP_DESCRIPTOR_BYTES = 192;

// A ring: 128 bytes, then its data, twice as long as RING_MASK says: a record that begins near the
// end goes on behind it, where a kernel maps the first pages again. Positions only ever grow.
/** 64-bit positions in bytes; the low word tells where in the data. Writers' line first. */
export const RING_PRODUCER = 0;
/** The oldest record that was not committed when space was last sought. */
export const RING_PENDING = 8;
/** Records that found no room, 64 bits. */
export const RING_LOST = 16;
export const RING_MASK = 24;
export const RING_CONSUMER = 64;
export const RING_HEADER_BYTES = 128;
/** Data of one worker's ring of a perf_event_array: room for two of the longest events. */
export const PERF_RING_BYTES = 131072;
/** A record: its length with RECORD_BUSY or RECORD_DISCARDED, the writer's worker id + 1, its data. */
export const RECORD_LENGTH = 0;
export const RECORD_OWNER = 4;
export const RECORD_HEADER_BYTES = 8;
export const RECORD_BUSY = 0x80000000;
export const RECORD_DISCARDED = 0x40000000;

export const STATE_FREE = 0;
export const STATE_LIVE = 1;

// Cursor of a scan: two words, then the key of the last entry given.
export const CURSOR_POSITION = 0;
export const CURSOR_HAS_KEY = 4;
export const CURSOR_KEY = 8;
/** CURSOR_POSITION after the last entry. */
export const CURSOR_END = 0xffffffff;

/** The `cpu` under which the main thread calls map operations and takes locks. */
export const MAIN_CPU = 0xfffe;

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
/** SLOT_FLAGS: SLOT_TUNNEL describes the tunnel that the packet came through, or is to go through. */
export const SLOT_HAS_TUNNEL = 0x02;
/** SLOT_FLAGS: the slot's `__sk_buff` describes this frame; its fields stay from program to program. */
export const SLOT_SKB_READY = 0x100;
/** SLOT_FLAGS: the frame goes to the client: its source is this side's. */
export const SLOT_OUTGOING = 0x200;
/** SLOT_FLAGS: `__sk_buff.hash` is the packet's, even where it is 0. */
export const SLOT_HASH_KNOWN = 0x400;
/** SLOT_FLAGS: a program has put an outer header around the packet (skb->encapsulation). */
export const SLOT_ENCAPSULATED = 0x800;
/** SLOT_FLAGS, three bits: 0, or one more than the checksums a program says are right (csum_level + 1). */
export const SLOT_CHECKSUMS_SHIFT = 12;
/** SLOT_FLAGS: the kernel's test run, which tells socket filters that the packet came in. */
export const SLOT_TEST_RUN = 0x8000;
/** SLOT_FLAGS, the bits from here up: copies of the packet that programs have sent. */
export const SLOT_CLONES_SHIFT = 16;
/** Lowest address `data_meta` and `data` may take. */
export const SLOT_FRAME_START = 28;
/** One past the highest address `data_end` may take. */
export const SLOT_FRAME_LIMIT = 32;
/** Return value of the last program, low and high word. */
export const SLOT_RETURN_LOW = 36;
export const SLOT_RETURN_HIGH = 40;
/** Target of the redirect helpers: an ifindex, 0 for none. Cleared before each program. */
export const SLOT_REDIRECT_IFINDEX = 44;
/** In its place: redirected to a worker, by a cpumap. No port has this number. */
export const REDIRECT_TO_WORKER = 0xffffffff;
/** Flags given to the redirect helpers. Cleared likewise. */
export const SLOT_REDIRECT_FLAGS = 48;
/** SLOT_REDIRECT_FLAGS of a devmap, linux/bpf.h: to all ports of SLOT_REDIRECT_MAP; not to the one it came by. */
export const F_BROADCAST = 8;
export const F_EXCLUDE_INGRESS = 16;
/** 8 bytes for a helper's own use during a call: a key that a program passed in a register. */
export const SLOT_SCRATCH = 52;
/** Address of the network header, for programs of the skb types: it follows changes of the frame. */
export const SLOT_NETWORK = 60;
/** `struct __sk_buff` for programs of the skb types: 192 bytes, linux/bpf.h. */
export const SLOT_SKB = 64;
export const SLOT_SKB_BYTES = 192;
/** What the kernel's struct ip_tunnel_info holds; engine/tunnel-info.ts says where. */
export const SLOT_TUNNEL = 256;
export const SLOT_TUNNEL_BYTES = 312;
/** Of a packet with SLOT_ENCAPSULATED: signed distance of its transport header from the frame's start. */
export const SLOT_TRANSPORT = 568;
/** Of a broadcast: the map whose ports are meant. Nothing where the flags do not say so. */
export const SLOT_REDIRECT_MAP = 572;
export const SLOT_HEADER_BYTES = 576;

/** Bytes between the slot's header and a frame placed by a listener: XDP_PACKET_HEADROOM. */
export const FRAME_HEADROOM = 256;
/** Largest frame a slot takes: Ethernet 14 + IPv6 40 + UDP 8 + 65,507 payload, rounded up. */
export const FRAME_CAPACITY = 65600;
export const FRAME_TAILROOM = 512;
/** 576 + 256 + 65,600 + 512: a multiple of 64. */
export const SLOT_BYTES = 66944;

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
export const TYPE_CPUMAP = 16;
export const TYPE_XSKMAP = 17;
export const TYPE_QUEUE = 22;
export const TYPE_STACK = 23;
export const TYPE_DEVMAP_HASH = 25;
export const TYPE_RINGBUF = 27;
export const TYPE_BLOOM_FILTER = 30;

// Map flags (map_flags) and update flags, linux/bpf.h.
export const F_NO_PREALLOC = 1;
export const F_RDONLY_PROG = 128;
export const F_WRONLY_PROG = 256;
export const UPDATE_ANY = 0;
export const UPDATE_NOEXIST = 1;
export const UPDATE_EXIST = 2;
/** BPF_F_LOCK: copies under the value's spin lock. */
export const UPDATE_LOCK = 4;
