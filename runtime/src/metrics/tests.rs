use smol::block_on;

use super::*;

fn unlimited() -> Metrics {
    Metrics::new(Budget::new(usize::MAX))
}

fn page(metrics: &Metrics) -> String {
    block_on(metrics.render())
}

fn none() -> std::iter::Empty<(&'static str, &'static str)> {
    std::iter::empty()
}

#[test]
fn a_page_is_no_longer_than_was_said() {
    let metrics = unlimited();
    assert_eq!(metrics.page_bytes(), 0);
    let overhead = page(&metrics).len();
    for (index, value) in [1e17, -1.234_567_890_123_456_7e-300, f64::NEG_INFINITY, 0.1]
        .into_iter()
        .enumerate()
    {
        metrics.apply("p", &format!("h{index}"), none(), Change::Observe(value));
        metrics.apply("p", &format!("g{index}"), none(), Change::GaugeSet(value));
        let many = Change::CounterInc(u64::MAX);
        metrics.apply("p", &"c".repeat(200 + index), none(), many);
    }
    let gauge = Change::GaugeSet(-1.234_567_890_123_456_7e-9);
    metrics.apply("p", "g", [("a", "b")].into_iter(), gauge);
    let (length, said) = (page(&metrics).len() - overhead, metrics.page_bytes());
    assert!(length <= said && said < 3 * length, "{length} of {said}");
}

#[test]
fn kinds_are_rendered_sorted_and_typed() {
    let metrics = unlimited();
    metrics.apply("p", "z.total", none(), Change::CounterInc(2));
    metrics.apply("p", "z.total", none(), Change::CounterInc(3));
    metrics.apply(
        "p",
        "gauge",
        [("b", "1"), ("a", "x\"\\\n")].into_iter(),
        Change::GaugeAdd(1.5),
    );
    metrics.apply("p", "h", none(), Change::Observe(0.03));
    let text = page(&metrics);
    assert!(
        text.contains("# TYPE z_total counter\nz_total{plugin=\"p\"} 5\n"),
        "{text}"
    );
    assert!(
        text.contains("gauge{plugin=\"p\",a=\"x\\\"\\\\\\n\",b=\"1\"} 1.5\n"),
        "{text}"
    );
    assert!(
        text.contains(
            "h_bucket{plugin=\"p\",le=\"0.025\"} 0\nh_bucket{plugin=\"p\",le=\"0.05\"} 1\n"
        ),
        "{text}"
    );
    assert!(
        text.contains("h_sum{plugin=\"p\"} 0.03\nh_count{plugin=\"p\"} 1\n"),
        "{text}"
    );
}

#[test]
fn a_full_table_drops_and_counts() {
    let metrics = unlimited();
    for n in 0..SERIES + 10 {
        metrics.apply("p", &format!("m{n}"), none(), Change::CounterInc(1));
    }
    metrics.apply("p", "m0", none(), Change::GaugeSet(1.0));
    metrics.apply("p", &"x".repeat(1000), none(), Change::CounterInc(1));
    assert!(page(&metrics).ends_with("zlayer_metrics_dropped_total 12\n"));
}

#[test]
fn what_one_plugin_has_is_no_matter_of_another() {
    let metrics = unlimited();
    let apply = |plugin: &str, name: &str, change| metrics.apply(plugin, name, none(), change);
    for plugin in ["a", "b", "c", "d", "e", "f"] {
        for n in 0..SERIES {
            assert_eq!(
                apply(plugin, &format!("m{n:03}"), Change::CounterInc(1)),
                None
            );
        }
    }
    assert_eq!(apply("a", "more", Change::CounterInc(1)), Some(Fault::Full));
    assert_eq!(
        apply("a", "other", Change::CounterInc(1)),
        None,
        "told once"
    );
    assert_eq!(
        apply("a", "m001", Change::GaugeSet(1.0)),
        Some(Fault::Clash)
    );
    assert_eq!(
        (metrics.of("a"), metrics.of("b")),
        ((SERIES, 3), (SERIES, 0))
    );
    assert_eq!(metrics.of("nobody"), (0, 0));
}

#[test]
fn a_name_that_plugins_disagree_about_is_shown_without_a_kind() {
    let metrics = unlimited();
    let apply = |plugin: &str, name: &str, change| {
        assert_eq!(
            metrics.apply(plugin, name, none(), change),
            None,
            "{plugin} {name}"
        );
    };
    apply("p", "x", Change::GaugeSet(1.5));
    apply("q", "x", Change::CounterInc(2));
    apply("r", "x", Change::Observe(0.5));
    apply("p", "h", Change::Observe(0.5));
    apply("q", "h_count", Change::CounterInc(7));
    apply("p", "same", Change::CounterInc(1));
    apply("q", "same", Change::CounterInc(1));
    let text = page(&metrics);
    for part in [
        "# TYPE x untyped\nx{plugin=\"p\"} 1.5\nx{plugin=\"q\"} 2\n",
        "# TYPE x_count untyped\nx_count{plugin=\"r\"} 1\n",
        "# TYPE x_bucket untyped\nx_bucket{plugin=\"r\",le=\"0.001\"} 0\n",
        "# TYPE h_count untyped\nh_count{plugin=\"p\"} 1\nh_count{plugin=\"q\"} 7\n",
        "# TYPE h_sum untyped\nh_sum{plugin=\"p\"} 0.5\n",
        "# TYPE same counter\nsame{plugin=\"p\"} 1\nsame{plugin=\"q\"} 1\n",
    ] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    assert_eq!(text.matches("# TYPE ").count(), 4 + 3 + 1 + 1, "{text}");
    assert!(text.len() <= metrics.page_bytes() + 200, "{text}");
}

#[test]
fn a_label_cannot_pose_as_the_plugin() {
    let metrics = unlimited();
    metrics.apply(
        "real",
        "m",
        [("plugin", "forged"), ("9", "v")].into_iter(),
        Change::CounterInc(1),
    );
    assert!(page(&metrics).contains("m{plugin=\"real\",_9=\"v\"} 1\n"));
}

#[test]
fn names_of_a_histograms_samples_are_taken() {
    let metrics = unlimited();
    metrics.apply("p", "h", none(), Change::Observe(1.0));
    metrics.apply("p", "c_sum", none(), Change::CounterInc(1));
    for (name, change) in [
        ("h_count", Change::CounterInc(1)),
        ("h.sum", Change::GaugeSet(1.0)),
        ("h_bucket", Change::Observe(1.0)),
        ("h", Change::CounterInc(1)),
        ("c", Change::Observe(1.0)),
    ] {
        metrics.apply("p", name, none(), change);
    }
    // No suffix of the format, no histogram.
    metrics.apply("p", "h_total", none(), Change::CounterInc(1));
    metrics.apply("p", "c", none(), Change::CounterInc(1));
    assert_eq!(metrics.dropped(), 5);
    let text = page(&metrics);
    assert_eq!(text.matches("h_count").count(), 1, "{text}");
    assert!(text.contains("\nh_total{plugin=\"p\"} 1\n"), "{text}");
}

#[test]
fn the_daemons_own_names_cannot_be_taken() {
    let metrics = unlimited();
    metrics.apply(
        "p",
        "zlayer.metrics_dropped_total",
        none(),
        Change::CounterInc(7),
    );
    metrics.apply(
        "p",
        "m",
        [("__name__", "x")].into_iter(),
        Change::CounterInc(1),
    );
    let text = page(&metrics);
    assert!(
        text.contains("\n_zlayer_metrics_dropped_total{plugin=\"p\"} 7\n"),
        "{text}"
    );
    assert!(text.contains("m{plugin=\"p\",_name__=\"x\"} 1\n"), "{text}");
    assert!(
        text.ends_with("\nzlayer_metrics_dropped_total 0\n"),
        "{text}"
    );
}

#[test]
fn more_labels_than_fit_are_dropped_with_their_series() {
    let metrics = unlimited();
    let many: Vec<_> = (0..=MOST_LABELS).map(|n| (format!("l{n}"), "v")).collect();
    let pairs = many.iter().map(|(key, value)| (key.as_str(), *value));
    metrics.apply("p", "m", pairs.clone(), Change::CounterInc(1));
    metrics.apply("p", "m", pairs.skip(1), Change::CounterInc(1));
    let long = "v".repeat(NAME_BYTES);
    metrics.apply(
        "p",
        "m",
        [("l", long.as_str())].into_iter(),
        Change::CounterInc(1),
    );
    assert_eq!(metrics.dropped(), 2);
    assert!(page(&metrics).contains(",l9=\"v\"} 1\n"));
}

#[test]
fn tables_are_charged_and_what_there_is_no_memory_for_is_dropped_and_told_once() {
    let budget = Budget::new(64 << 10);
    let metrics = Metrics::new(Arc::clone(&budget));
    let observe = |name: &str| metrics.apply("p", name, none(), Change::Observe(1.0));
    let told = (0..SERIES).filter_map(|n| observe(&format!("h{n}{}", "x".repeat(200))));
    assert_eq!(told.collect::<Vec<_>>(), [Fault::NoMemory]);
    let (series, dropped) = metrics.of("p");
    assert_eq!(series + dropped as usize, SERIES);
    assert!(series > 64, "{series}");
    let full = budget.used();
    assert!(full > series * (size_of::<Histogram>() + 200), "{full}");
    // What is there goes on.
    metrics.apply(
        "p",
        &format!("h0{}", "x".repeat(200)),
        none(),
        Change::Observe(1.0),
    );
    assert_eq!((budget.used(), metrics.dropped()), (full, dropped));
}

#[test]
fn others_run_while_a_page_is_written() {
    let metrics = unlimited();
    for n in 0..SERIES {
        metrics.apply("p", &format!("m{n}"), none(), Change::Observe(1.0));
        // A name that two disagree about is written in another way.
        let change = Change::CounterInc(1);
        metrics.apply("q", &format!("m{n}"), none(), change);
    }
    let mut page = Page::default();
    let mut writing = Box::pin(metrics.write(&mut page));
    let mut pieces = 0;
    block_on(std::future::poll_fn(|cx| {
        pieces += 1;
        writing.as_mut().poll(cx)
    }));
    assert!(pieces > 2 * SERIES / 64, "{pieces}");
}
