//! The loss: cross-entropy of the softmax.

/// Returns the mean loss of rows of scores, and replaces the scores by their gradients.
///
/// For one row the loss is `ln(sum(exp(scores))) - score of the label`, and its gradient is `softmax(scores)`, minus 1
/// at the label.
pub(crate) fn cross_entropy(scores: &mut [f32], labels: &[u8]) -> f64 {
    let (rows, classes) = (labels.len() as f32, scores.len() / labels.len());
    let mut loss = 0.0;
    for (row, label) in scores.chunks_exact_mut(classes).zip(labels) {
        let label = usize::from(*label);
        // Less the largest score, so that no exponential overflows.
        let largest = row.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
        let of_label = row[label] - largest;
        row.iter_mut().for_each(|score| *score = (*score - largest).exp());
        let sum: f32 = row.iter().sum();
        row.iter_mut().for_each(|score| *score /= sum * rows);
        row[label] -= 1.0 / rows;
        loss += f64::from(sum.ln() - of_label);
    }
    loss / labels.len() as f64
}

/// Returns the class with the highest score in each row.
pub(crate) fn best(scores: &[f32], classes: usize) -> Vec<u8> {
    let best_of = |row: &[f32]| (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap_or(0);
    scores.chunks_exact(classes).map(|row| best_of(row) as u8).collect()
}
