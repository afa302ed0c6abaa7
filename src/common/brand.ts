declare const brand: unique symbol;

/** A number or string that must not be mixed up with others of its kind. Construct in one place. */
export type Brand<T, Name extends string> = T & { readonly [brand]: Name };
