//! The loss as bars in the terminal.

const WIDTH: f64 = 60.0;

/// Returns the line of one epoch: its loss as a bar, beside that of the first epoch, which has the full width.
pub(crate) fn line(epoch: usize, loss: f64, first: f64) -> String {
    // A float becomes the nearest integer of its range, NaN becomes 0.
    let eighths = (8.0 * WIDTH * (loss / first).min(1.0)).round() as usize;
    let end = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    format!("epoch {epoch:3}  loss {loss:.4}  {}{end}", "█".repeat(eighths / 8))
}
