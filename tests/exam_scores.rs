//! The example prints what it should, and reports what is wrong with a file.

// The example's own modules, compiled into this test as well.
#[path = "../examples/exam_scores/report.rs"]
mod report;
#[path = "../examples/exam_scores/scores.rs"]
mod scores;

use std::path::Path;

use scores::{CsvError, parse_csv};

/// Returns the cells below a title, row by row.
fn numbers(text: &str, title: &str, rows: usize) -> Vec<Vec<String>> {
    let mut lines = text.lines().skip_while(|line| *line != title);
    assert!(lines.next().is_some(), "no table {title:?} in:\n{text}");
    let columns = lines.next().expect("a header");
    assert!(columns.contains("Japanese") && columns.contains("science"));
    lines.take(rows).map(|line| line.split_whitespace().map(String::from).collect()).collect()
}

fn expect(text: &str, title: &str, rows: &[&str]) {
    let expected: Vec<Vec<String>> =
        rows.iter().map(|row| row.split_whitespace().map(String::from).collect()).collect();
    let mut given = numbers(text, title, rows.len());
    if title.starts_with("mean") {
        // The names of these rows have spaces: compare the numbers only.
        given = given.into_iter().map(|row| row[row.len() - 5..].to_vec()).collect();
    }
    assert_eq!(given, expected, "{title}");
}

#[test]
fn the_published_figures() {
    let text = report::report(&scores::exam()).expect("a report");
    expect(
        &text,
        "mean, unbiased variance (ddof 1), population variance (ddof 0)",
        &[
            "99.0000 18.6667  71.6667 90.3333   17.3333",
            " 0.0000 60.6667 631.0667  0.2667 1600.6667",
            // The line above times 5 / 6.
            " 0.0000 50.5556 525.8889  0.2222 1333.8889",
        ],
    );
    expect(
        &text,
        "normalised, scores",
        &[
            "A 0.0000 -1.2189  0.5814 -0.7071 -0.4472",
            "B 0.0000  0.8907  0.1454 -0.7071 -0.4472",
            "C 0.0000  1.5939 -2.2094 -0.7071 -0.4472",
            "D 0.0000 -0.5157  0.3634 -0.7071 -0.4472",
            "E 0.0000 -0.9376  0.5378  1.4142 -0.4472",
            "F 0.0000  0.1875  0.5814  1.4142  2.2361",
        ],
    );
    expect(
        &text,
        "normalised, scores / 10000",
        &[
            "A 0.0000 -0.2674  0.3413 -0.0105 -0.3381",
            "B 0.0000  0.1954  0.0853 -0.0105 -0.3381",
            "C 0.0000  0.3497 -1.2971 -0.0105 -0.3381",
            "D 0.0000 -0.1131  0.2133 -0.0105 -0.3381",
            "E 0.0000 -0.2057  0.3157  0.0211 -0.3381",
            "F 0.0000  0.0411  0.3413  0.0211  1.6905",
        ],
    );
    expect(
        &text,
        "normalised, scores / 100",
        &[
            "A 0.0000 -1.2177  0.5814 -0.5872 -0.4472",
            "B 0.0000  0.8899  0.1453 -0.5872 -0.4472",
            "C 0.0000  1.5924 -2.2092 -0.5872 -0.4472",
            "D 0.0000 -0.5152  0.3634 -0.5872 -0.4472",
            "E 0.0000 -0.9367  0.5378  1.1744 -0.4472",
            "F 0.0000  0.1873  0.5814  1.1744  2.2360",
        ],
    );
    assert!(text.ends_with("All paths gave the same bits.\n"));
    assert!(!text.contains("-0.0000"));
}

fn parse(text: &str) -> Result<scores::Table, CsvError> {
    parse_csv(text.as_bytes(), "scores.csv")
}

fn refusal(text: &str) -> String {
    parse(text).expect_err("refused").to_string()
}

#[test]
fn a_csv_with_and_without_a_header() {
    let with = parse("maths,science\n10,1\n25, 1.5e1\n").expect("a table");
    let without = parse("10,1\n25,15\n").expect("a table");
    assert_eq!(with.values, [10.0, 1.0, 25.0, 15.0]);
    assert_eq!(with.values, without.values);
    assert_eq!(with.columns, ["maths", "science"]);
    assert_eq!(without.columns, ["column 1", "column 2"]);
    let text = report::report(&with).expect("a report");
    assert!(text.contains("17.5000"), "{text}");
}

#[test]
fn what_is_wrong_with_a_csv() {
    assert_eq!(refusal("a,b\n1,2\n3,x\n"), "line 3, column 2: \"x\" is not a number");
    assert_eq!(refusal("1,2\n3,\n"), "line 2, column 2: \"\" is not a number");
    assert_eq!(refusal("1,2\n3,4\n5\n"), "line 3, column 2: expected 2 cells, but the line has 1");
    assert_eq!(refusal("1,2\n3,4,5\n"), "line 2, column 3: expected 2 cells, but the line has 3");
    assert_eq!(refusal(""), "line 1, column 1: the file holds no numbers");
    assert_eq!(refusal("maths,science\n"), "line 1, column 1: the file holds no numbers");
    assert!(parse_csv(&b"1,2\n\xff,3\n"[..], "scores.csv").is_err());
    let missing = scores::read_csv(Path::new("no such file.csv")).expect_err("refused").to_string();
    assert!(missing.starts_with("no such file.csv: "), "{missing}");
}

/// A batch of one row has moments, but training on it is refused with a message.
#[test]
fn one_row() {
    let text = report::report(&parse("3,4\n").expect("a table")).expect("a report");
    assert!(text.contains("training needs at least 2 values per feature, but the batch has 1"), "{text}");
}
