//! Numbers as text.

/// Returns a number with so many significant digits, without trailing zeros. NaN, which is no number, becomes a dash.
pub(crate) fn significant(x: f64, digits: usize) -> String {
    // Numbers below this have their integer part written out, however few digits are significant.
    const WRITTEN_OUT: i32 = 9;
    if x.is_nan() {
        return "-".into();
    }
    if x == 0.0 || x.is_infinite() {
        return (x + 0.0).to_string();
    }
    let decimals = digits.saturating_sub(1);
    let scientific = format!("{x:.decimals$e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = exponent.parse().unwrap_or(0);
    if (-5..WRITTEN_OUT).contains(&power) {
        let decimals = usize::try_from(i32::try_from(decimals).unwrap_or(0) - power).unwrap_or(0);
        trimmed(&format!("{x:.decimals$}")).into()
    } else {
        format!("{}e{exponent}", trimmed(mantissa))
    }
}

/// Returns the fewest digits that give the same f64 again. NaN becomes nothing: a missing cell.
pub(crate) fn shortest(x: f64) -> String {
    if x.is_nan() {
        return String::new();
    }
    let text = format!("{:?}", x + 0.0);
    text.strip_suffix(".0").unwrap_or(&text).into()
}

/// Returns a value of the data: as it was written, unless that is much longer than so many significant digits.
pub(crate) fn datum(x: f64, digits: usize) -> String {
    const LONGER: usize = 6;
    let text = shortest(x);
    if !x.is_nan() && text.len() <= digits + LONGER { text } else { significant(x, digits) }
}

/// Returns zero, without a sign, for what so many decimals show as zero.
pub(crate) fn without_tiny(x: f64, decimals: usize) -> f64 {
    let scale = 10f64.powi(i32::try_from(decimals).unwrap_or(0));
    if x.abs() * scale <= 0.5 { 0.0 } else { x }
}

/// Returns the text without trailing zeros behind a decimal point.
fn trimmed(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}
