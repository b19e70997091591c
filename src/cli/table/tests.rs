use super::{Cell, Column, TableView, natural, table};

const COLUMNS: [Column; 3] = [
    Column::text("NAME"),
    Column::number("COUNT"),
    Column::text("NOTE").wide(),
];

fn rows() -> Vec<Vec<Cell>> {
    let row = |name: &str, count: f64, note: &str| {
        vec![
            name.into(),
            Cell::number(count.to_string(), count),
            note.into(),
        ]
    };
    vec![
        row("web-10", 9.0, "a"),
        row("web-2", 10.0, "b"),
        vec!["api".into(), "-".into(), "c".into()],
    ]
}

fn shown(view: &TableView) -> String {
    table(&COLUMNS, rows(), view).unwrap()
}

#[test]
fn a_table_has_two_spaces_and_numbers_at_the_right() {
    let text = shown(&TableView::default());
    assert_eq!(
        text,
        "NAME    COUNT\nweb-10      9\nweb-2      10\napi         -\n"
    );
    let wide = shown(&TableView {
        wide: true,
        no_header: true,
        ..TableView::default()
    });
    assert_eq!(wide, "web-10   9  a\nweb-2   10  b\napi      -  c\n");
}

#[test]
fn rows_are_sorted_by_number_or_by_natural_order() {
    let names = |sort: &str| {
        let view = TableView {
            sort: Some(sort.to_owned()),
            columns: vec!["name".to_owned()],
            no_header: true,
            ..TableView::default()
        };
        shown(&view)
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(names("name"), ["api", "web-2", "web-10"]);
    assert_eq!(names("COUNT"), ["web-10", "web-2", "api"]);
    assert_eq!(names("-count"), ["api", "web-2", "web-10"]);
    assert!(natural("a007", "a7").is_lt() && natural("a8", "a07").is_gt());
}

#[test]
fn an_unknown_column_is_named_with_those_that_exist() {
    for (columns, sort) in [
        (vec!["port".to_owned()], None),
        (Vec::new(), Some("port".to_owned())),
    ] {
        let view = TableView {
            columns,
            sort,
            ..TableView::default()
        };
        let error = table(&COLUMNS, rows(), &view).unwrap_err();
        assert_eq!(error.code, 2);
        assert!(
            error
                .message
                .contains("\"port\"; there are name, count, note"),
            "{error:?}"
        );
    }
}

#[test]
fn lines_are_cut_to_the_terminal_only() {
    let view = TableView {
        width: Some(9),
        wide: true,
        ..TableView::default()
    };
    for line in shown(&view).lines() {
        assert!(line.chars().count() <= 9, "{line:?}");
    }
    assert!(shown(&view).contains("web-10  "), "{}", shown(&view));
    let narrow = TableView {
        width: Some(4),
        ..TableView::default()
    };
    assert!(shown(&narrow).contains("web…\n"), "{}", shown(&narrow));
}

#[test]
fn status_words_are_coloured_on_a_terminal() {
    let rows = vec![vec![Cell::from("healthy")], vec![Cell::from("x")]];
    let view = TableView {
        colour: true,
        no_header: true,
        ..TableView::default()
    };
    let text = table(&[Column::text("STATUS")], rows, &view).unwrap();
    assert_eq!(text, "\u{1b}[32mhealthy\u{1b}[0m\nx\n");
}
