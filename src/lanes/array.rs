//! Arrays made value by value. The standard library's `map` of arrays and the constructor of `Zip` are not marked
//! inline: without link-time optimisation, each would be a call in a loop over lanes. For the same reason, kernels count
//! through arrays instead of zipping their iterators. (They do without the functions here, too: closures are compiled without
//! a kernel's instructions, see [`Job`](super::Job).)

/// Returns an array of the values of `f` at each index.
#[inline(always)]
pub(super) fn from_fn<T: Copy, const N: usize>(mut f: impl FnMut(usize) -> T) -> [T; N] {
    const { assert!(N > 0, "there is no first value") };
    let mut array = [f(0); N];
    let mut index = 1;
    while index < N {
        array[index] = f(index);
        index += 1;
    }
    array
}

/// Returns an array of the values of `f` at each value of another.
#[inline(always)]
pub(super) fn map<T: Copy, U: Copy, const N: usize>(array: [T; N], mut f: impl FnMut(T) -> U) -> [U; N] {
    from_fn(|index| f(array[index]))
}
