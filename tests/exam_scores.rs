//! The example prints what it should, and reports what is wrong with a file.

// The example itself, compiled into this test as well.
#[path = "../examples/exam_scores/main.rs"]
#[allow(dead_code, reason = "the tests call `run`, not `main`")]
mod example;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use example::table::{CsvError, Missing, Reading, Table, parse};
use example::{number, report, run, scores};

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

/// Reads a table in the default way.
fn table(text: &str) -> Table {
    parse(text.as_bytes(), &Reading::default()).expect(text)
}

fn refusal(text: &str) -> String {
    parse(text.as_bytes(), &Reading::default()).expect_err(text).to_string()
}

fn names(table: &Table) -> Vec<&str> {
    table.columns.iter().map(|column| column.name.as_str()).collect()
}

fn values(table: &Table) -> Vec<&[f64]> {
    table.columns.iter().map(|column| &column.values[..]).collect()
}

/// Writes a file for one test.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).expect("a temporary file");
    path
}

/// Runs the program and returns its exit code, what it prints, and what it says beside that.
fn program(args: &[&str]) -> (u8, String, String) {
    let (mut out, mut messages) = (Vec::new(), Vec::new());
    let code = run(args.iter().map(Into::into), &mut out, &mut messages);
    (code, String::from_utf8(out).expect("text"), String::from_utf8(messages).expect("text"))
}

/// Runs the program on one file with some options.
fn on_file(path: &Path, options: &[&str]) -> (u8, String, String) {
    program(&[options, &[path.to_str().expect("a path in UTF-8")]].concat())
}

fn cells(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn a_csv_with_and_without_a_header() {
    let with = table("maths,science\n10,1\n25, 1.5e1\n");
    let without = table("10,1\n25,15\n");
    assert_eq!(values(&with), [[10.0, 25.0], [1.0, 15.0]]);
    assert_eq!(values(&with), values(&without));
    assert_eq!((names(&with), &with.lines[..]), (vec!["maths", "science"], &[2, 3][..]));
    assert_eq!((names(&without), &without.lines[..]), (vec!["column 1", "column 2"], &[1, 2][..]));
}

/// Headers with numbers: text over a number decides; years alone are data, with a note, unless the caller says.
#[test]
fn numeric_headers() {
    assert_eq!(names(&table("id,2020,2021\n7,1,2\n")), ["id", "2020", "2021"]);
    let years = "2019,2020,2021\n5,3,4\n";
    let taken = table(years);
    assert_eq!((taken.lines.len(), names(&taken)[0]), (2, "column 1"));
    assert!(taken.notes[0].contains("--header yes"), "{:?}", taken.notes);
    let with = |header| parse(years.as_bytes(), &Reading { header: Some(header), ..Reading::default() });
    let header = with(true).expect("a table");
    assert_eq!((names(&header), header.lines.len(), header.notes.len()), (vec!["2019", "2020", "2021"], 1, 0));
    assert!(with(false).expect("a table").notes.is_empty());
    assert!(table("5,3,4\n1,2,3\n").notes.is_empty());
}

#[test]
fn delimiters_decimal_commas_and_quotes() {
    let expected = [[1.5, -2.0], [1000.25, 3.0]];
    for text in [
        "a,b\n1.5,1000.25\n-2,3\n",
        "a;b\n1.5;1000.25\n-2;3\n",
        "a;b\n1,5;1000,25\n-2;3\n",
        "a\tb\r\n1,5\t1000,25\r\n-2\t3\r\n",
        "\"a\";\"b\"\n\"1,5\";\"1000,25\"\n\"-2\";\"3\"",
        "\u{feff}a,b\n1.5,1000.25\n\n-2,3\n",
    ] {
        let table = table(text);
        assert_eq!((values(&table), names(&table)), (expected.each_ref().map(|x| &x[..]).to_vec(), vec!["a", "b"]));
        assert_eq!(table.notes.len(), usize::from(text.contains("1,5")), "{:?}", table.notes);
    }
    let lines = |text| table(text).lines;
    assert_eq!(lines("a,b\r\n1,2\r\n\r\n3,4\r\n"), [2, 4]);
    assert_eq!(lines("\n\n\"a\nb\",c\n1,2\n\n\n3,4"), [5, 8]);
    // Delimiters and line feeds in quotes.
    assert_eq!(names(&table("\"a;\nb\",\"c,d\"\n1,2\n")), ["a; b", "c,d"]);
    let comma = Reading { decimal: Some(b','), ..Reading::default() };
    assert_eq!(values(&parse(b"a,b\n\"1,5\",2\n", &comma).expect("a table")), [[1.5], [2.0]]);
    let chosen = Reading { delimiter: Some(b';'), ..Reading::default() };
    assert_eq!(values(&parse(b"1,5\n2,5\n", &chosen).expect("a table")), [[1.5, 2.5]]);
    assert!(
        refusal("a,b\n\"1,234\",2\n")
            .ends_with("\"1,234\" is not a number; if the comma is a decimal mark: --decimal comma")
    );
    let mixed = "line 2, column 1: \"1,5\" has another decimal mark than line 1; ";
    assert!(refusal("0.5;1\n1,5;2\n").starts_with(mixed));
}

#[test]
fn text_columns() {
    let text = "city;born;size\nTokyo;12;1,5\nKyoto;?1;2\n";
    let hint = "--skip-text leaves out columns with text";
    assert_eq!(refusal(text), format!("line 2, column 1 (city): \"Tokyo\" is not a number; {hint}"));
    let table = parse(text.as_bytes(), &Reading { skip_text: true, ..Reading::default() }).expect("a table");
    assert_eq!((names(&table), values(&table)), (vec!["size"], vec![&[1.5, 2.0][..]]));
    assert!(table.notes.contains(&"skipped text column \"born\" (line 3: \"?1\")".into()), "{:?}", table.notes);
    let only_text = parse(b"a\nx\n", &Reading { skip_text: true, ..Reading::default() });
    assert!(matches!(only_text, Err(CsvError::Empty)));
}

#[test]
fn missing_cells() {
    let text = "a,b,\n1,,\nNA,5,\n3,6,\n4,n/a,\n";
    assert!(refusal(text).starts_with("line 3, column 1 (a): a cell is missing; --missing skip-row"));
    assert!(refusal("1,\n2,\n,3\n4,5\n").starts_with("line 3, column 1 (column 1): a cell is missing"));
    assert!(refusal("1,\n2,\n4,5\n").starts_with("line 1, column 2 (column 2): the first of 2 missing cells"));
    let with = |missing| parse(text.as_bytes(), &Reading { missing, ..Reading::default() }).expect("a table");
    let rows = with(Missing::SkipRow);
    assert_eq!((values(&rows), &rows.lines[..]), (vec![&[3.0][..], &[6.0][..]], &[4][..]));
    assert_eq!(rows.notes, ["skipped empty column \"column 3\"", "skipped 3 of 4 rows, which have missing cells"]);
    let cells = with(Missing::SkipCell);
    assert_eq!(cells.columns[0].present(), [1.0, 3.0, 4.0]);
    assert_eq!(cells.columns[1].present(), [5.0, 6.0]);
}

#[test]
fn what_is_wrong_with_a_csv() {
    assert_eq!(refusal("1,2\n3,4\n5\n"), "line 3, column 2: expected 2 cells, but the line has 1");
    assert_eq!(refusal("1,2\n3,4,5\n"), "line 2, column 3: expected 2 cells, but the line has 3");
    assert_eq!(refusal(""), "line 1, column 1: the file holds no numbers");
    assert_eq!(refusal("maths,science\n"), "line 1, column 1: the file holds no numbers");
    assert!(parse(b"1,2\n\xff,3\n", &Reading::default()).is_err());
    assert!(matches!(parse(b"\xff\xfe1\0\n\0", &Reading::default()), Err(CsvError::Utf16)));
}

#[test]
fn significant_digits() {
    let cases = [
        (0.000_05, "0.00005"),
        (1.234_567_8e-7, "1.23457e-7"),
        (99.0, "99"),
        (-0.0, "0"),
        (1_234_567.89, "1234568"),
        (631.066_666_7, "631.067"),
        (9.999_999_9e20, "1e21"),
        (f64::NAN, "-"),
        (f64::NEG_INFINITY, "-inf"),
    ];
    for (x, text) in cases {
        assert_eq!(number::significant(x, 6), text);
    }
    assert_eq!([number::datum(1_234_567.5, 6), number::datum(0.1 + 0.2, 6)], ["1234567.5", "0.3"]);
    let zero = number::without_tiny(-0.000_04, 4);
    assert_eq!((zero.to_bits(), number::without_tiny(-0.000_06, 4)), (0, -0.000_06));
}

#[test]
fn the_summary() {
    let path = file("summary.csv", b"maths,tiny\n10,0.00001\n25,0.00003\n31,0.00008\n");
    let (code, out, messages) = on_file(&path, &[]);
    assert_eq!((code, &messages[..]), (0, ""));
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], format!("{}: 3 rows, 2 columns", path.display()));
    assert_eq!(cells(lines[2]), ["maths", "3", "22", "10.8167", "117", "78", "10", "31"]);
    assert_eq!(cells(lines[3])[..4], ["tiny", "3", "0.00004", "0.0000360555"]);
    assert!(lines[1].starts_with(" column") && lines[4].contains("ddof 1: unbiased variance"), "{out}");
    let (_, out, _) = on_file(&path, &["--digits", "2"]);
    assert_eq!(cells(out.lines().nth(2).expect("a column"))[3], "11");
    let (_, out, _) = on_file(&path, &["--csv"]);
    let expected = format!("{},maths,3,22,10.816653826391969,117,78,10,31", path.display());
    assert_eq!(out.lines().nth(1), Some(&expected[..]));
}

#[test]
fn the_normalised_table() {
    let path = file("normalised.csv", b"maths,constant,small\n10,7,0.001\n\n30,7,0.003\n");
    let (code, out, messages) = on_file(&path, &["--normalised"]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((code, lines[0]), (0, &format!("{}: 2 rows, 3 columns, normalised", path.display())[..]));
    assert_eq!(
        lines[1..],
        ["line    maths  constant    small", "   2  -1.0000    0.0000  -0.3015", "   4   1.0000    0.0000   0.3015"]
    );
    // sqrt(1e-6 / (1e-6 + 1e-5))
    let note = "note: eps 1e-5 shrinks column \"small\" (sd 0.001) to sd 0.302; --eps 0 gives 1\n";
    assert_eq!(messages, format!("{}: {note}", path.display()));
    let (_, out, messages) = on_file(&path, &["--normalised", "--eps=0", "--csv"]);
    assert_eq!((&out[..], &messages[..]), ("maths,constant,small\n-1,0,-1\n1,0,1\n", ""));
    let one = file("one_row.csv", b"3,4\n");
    let (code, _, messages) = on_file(&one, &["--normalised"]);
    let expected = "column \"column 1\": training needs at least 2 values per feature, but the batch has 1: \
        the variance of so few is undefined\n";
    assert_eq!((code, messages), (1, format!("exam_scores: {}: {expected}", one.display())));
}

/// One wrong file does not keep the others from being printed, and every message has its file's name.
#[test]
fn several_files() {
    let paths = [file("good.csv", b"1\n2\n"), file("bad.csv", b"1\nx\n"), file("fine.csv", b"5\n6\n")];
    let names = paths.each_ref().map(|path| path.to_str().expect("UTF-8"));
    let (code, out, messages) = program(&names);
    assert_eq!(code, 1);
    assert!(out.contains(&format!("{}: 2 rows", names[0])) && out.contains(&format!("{}: 2 rows", names[2])), "{out}");
    assert!(messages.starts_with(&format!("exam_scores: {}: line 2, column 1", names[1])), "{messages}");
    let (code, out, messages) = program(&["--csv", names[0], names[2]]);
    assert_eq!((code, out.lines().count(), &messages[..]), (0, 3, ""));
    let (code, _, messages) = program(&["no such file.csv"]);
    assert!(code == 1 && messages.starts_with("exam_scores: no such file.csv: "), "{messages}");
}

#[test]
fn arguments() {
    assert_eq!(program(&["--help", "--eps", "x"]).0, 0);
    assert!(program(&["x.csv", "-h"]).1.contains("--skip-text"));
    assert!(program(&[]).1.ends_with("All paths gave the same bits.\n"));
    for (args, message) in [
        (&["--nonsense"][..], "invalid option '--nonsense'"),
        (&["--eps"], "missing argument for option '--eps'"),
        (&["--eps", "x", "a.csv"], "cannot parse argument \"x\""),
        (&["--eps=-1", "a.csv"], "--eps: "),
        (&["--digits", "0", "a.csv"], "--digits must be from 1 to 17, but is 0"),
        (&["--header", "maybe", "a.csv"], "--header must be one of auto, yes, no, but is \"maybe\""),
        (&["--csv"], "these options need a FILE"),
        (&["--csv", "--normalised", "a.csv", "b.csv"], "--normalised --csv takes one FILE"),
    ] {
        let (code, out, messages) = program(args);
        assert_eq!((code, &out[..]), (2, ""));
        assert!(messages.starts_with(&format!("exam_scores: {message}")), "{messages}");
    }
}

/// A writer whose reader has gone, as `head` does.
struct Closed(io::ErrorKind);

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let path = file("pipe.csv", b"1\n2\n");
    let path = path.to_str().expect("UTF-8");
    for args in
        [&["--help"][..], &[], &[path], &["--csv", path], &["--normalised", path], &["--normalised", "--csv", path]]
    {
        let with = |kind| {
            let mut messages = Vec::new();
            (run(args.iter().map(Into::into), &mut Closed(kind), &mut messages), messages.len())
        };
        assert_eq!(with(io::ErrorKind::BrokenPipe), (0, 0), "{args:?}");
        assert_eq!(with(io::ErrorKind::StorageFull).0, 1, "{args:?}");
    }
}
