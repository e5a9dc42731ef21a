use super::*;

fn value(metrics: &TenantMetrics, series: &str) -> Option<u64> {
    let mut text = String::new();
    metrics.render(&mut text);
    let line = text.lines().find(|line| line.starts_with(series))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn the_busiest_are_named_the_rest_are_other_and_nothing_is_lost() {
    let metrics = TenantMetrics::new(2);
    let requests = metrics.counter("requests_total", "Requests.", &[("endpoint", "update")]);
    let tenants: Vec<TenantHandle> = (0..5u128)
        .map(|id| metrics.tenant(id, &format!("t{id}")))
        .collect();
    for (n, tenant) in (1..).zip(&tenants) {
        tenant.add(requests, n * 10);
    }
    metrics.rank();
    for tenant in &tenants {
        tenant.add(requests, 1);
    }
    assert_eq!(
        value(&metrics, r#"requests_total{tenant="t4",endpoint="update"}"#),
        Some(1)
    );
    assert_eq!(
        value(&metrics, r#"requests_total{tenant="t3",endpoint="update"}"#),
        Some(1)
    );
    assert_eq!(value(&metrics, r#"requests_total{tenant="t2""#), None);
    assert_eq!(
        value(&metrics, r#"requests_total{tenant="other""#),
        Some(153)
    );
}

#[test]
fn a_tenant_that_falls_out_and_comes_back_never_counts_down() {
    let metrics = TenantMetrics::new(1);
    let requests = metrics.counter("requests_total", "Requests.", &[]);
    let (a, b) = (metrics.tenant(1, &"a"), metrics.tenant(2, &"b"));
    a.add(requests, 10);
    metrics.rank();
    a.add(requests, 5);
    assert_eq!(value(&metrics, r#"requests_total{tenant="a"}"#), Some(5));
    b.add(requests, 1000);
    metrics.rank();
    a.add(requests, 7);
    assert_eq!(value(&metrics, r#"requests_total{tenant="a"}"#), None);
    a.add(requests, 100_000);
    metrics.rank();
    assert_eq!(value(&metrics, r#"requests_total{tenant="a"}"#), Some(5));
    assert_eq!(
        value(&metrics, r#"requests_total{tenant="other"}"#),
        Some(10 + 1000 + 100_007)
    );
}

#[test]
fn quiet_tenants_are_forgotten_unless_somebody_counts_on_them() {
    let metrics = TenantMetrics::new(1);
    let requests = metrics.counter("requests_total", "Requests.", &[]);
    let kept = metrics.tenant(1, &"kept");
    metrics.tenant(2, &"gone").add(requests, 1);
    for _ in 0..FORGET_AFTER + 5 {
        metrics.rank();
    }
    assert_eq!(metrics.tenants.read().unwrap().len(), 1);
    kept.add(requests, 3);
    metrics.rank();
    assert_eq!(
        value(&metrics, r#"requests_total{tenant="other"}"#),
        Some(4)
    );
}
