/** Bytes of a packet that a capture may keep: an Ethernet header, to the longest frame there is. */
export const leastSnapLength = 14;
export const mostSnapLength = 65_600;
/** Packets a second and worker that it may be asked to record. */
export const mostPerSecond = 1_000_000;
