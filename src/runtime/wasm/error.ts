/** Linux error numbers, as in common/errno.ts; operations return them negated. */
export const ENOENT = 2;
export const E2BIG = 7;
export const EBADF = 9;
export const EBUSY = 16;
export const EEXIST = 17;
export const ENODEV = 19;
export const EINVAL = 22;
export const ENOSPC = 28;
export const EOVERFLOW = 75;
export const EOPNOTSUPP = 95;
