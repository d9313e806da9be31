/** ⌊share·count⌋ of a share as it was written: 0.29·100 is 28.999999999999996 in float64. */
export const floorOfShare = (share: number, count: number): number => Math.floor(share * count + 1e-9);
