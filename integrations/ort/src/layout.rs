//! What the dimensions of X mean.

use batchnorm::Layout;

/// Returns the layout of a tensor `[N, C, ...]`. As ONNX has it, `[N]` is of one channel.
pub(crate) fn of(dims: &[i64]) -> Result<Layout, String> {
    let wrong = |what: &str| format!("X must be [N, C, ...] or [N], but {what}: its shape is {dims:?}");
    let sizes: Option<Vec<usize>> = dims.iter().map(|&dim| usize::try_from(dim).ok()).collect();
    match sizes.as_deref() {
        None => Err(wrong("has a negative dimension")),
        Some([]) => Err(wrong("is a scalar")),
        Some(&[n]) => Ok(Layout::new(n, 1, 1)),
        // A product that saturates is refused where it meets the tensor's length.
        Some(&[n, c, ref inner @ ..]) => Ok(Layout::new(n, c, inner.iter().copied().fold(1, usize::saturating_mul))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_come_second() {
        assert_eq!(of(&[5]), Ok(Layout::new(5, 1, 1)));
        assert_eq!(of(&[5, 3]), Ok(Layout::nc(5, 3)));
        assert_eq!(of(&[5, 3, 4, 7]), Ok(Layout::nchw(5, 3, 4, 7)));
        assert_eq!(of(&[5, 3, 0, 7, 2]), Ok(Layout::new(5, 3, 0)));
    }

    #[test]
    fn no_channels_are_errors() {
        assert!(of(&[]).expect_err("a scalar").contains("is a scalar: its shape is []"));
        assert!(of(&[2, -1]).expect_err("negative").contains("[2, -1]"));
    }
}
