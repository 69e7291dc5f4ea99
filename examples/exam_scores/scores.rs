//! The batch that is built in.

/// Rows of numbers, with names.
pub(crate) struct Scores {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<String>,
    /// The values, row by row.
    pub(crate) values: Vec<f32>,
}

/// Returns the scores of six pupils in five subjects.
pub(crate) fn exam() -> Scores {
    let scores: [[u8; 5]; 6] = [
        [99, 10, 85, 90, 1],
        [99, 25, 75, 90, 1],
        [99, 30, 21, 90, 1],
        [99, 15, 80, 90, 1],
        [99, 12, 84, 91, 1],
        [99, 20, 85, 91, 99],
    ];
    Scores {
        columns: ["Japanese", "maths", "English", "social studies", "science"].map(String::from).into(),
        rows: ["A", "B", "C", "D", "E", "F"].map(String::from).into(),
        values: scores.as_flattened().iter().map(|&score| f32::from(score)).collect(),
    }
}
