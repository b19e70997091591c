use super::{OTHERS, SERVICES_MAX, ServiceGauges, StatusCounts};
use crate::{
    model::{ServiceName, Status},
    telemetry::Metrics,
};

/// `counts` healthy instances of the service with this number.
fn service(number: usize, healthy: u32) -> (ServiceName, StatusCounts) {
    let mut counts = StatusCounts::default();
    counts[Status::Healthy as usize] = healthy;
    let name = format!("service-{number:03}");
    (ServiceName::parse(&name).unwrap(), counts)
}

fn value(metrics: &Metrics, service: &str, status: &str) -> Option<u32> {
    let line = format!("musterd_service_instances{{service=\"{service}\",status=\"{status}\"}} ");
    let page = metrics.render();
    let found = page.lines().find_map(|own| own.strip_prefix(&line));
    found.map(|value| value.parse().unwrap())
}

#[test]
fn the_largest_services_have_separate_gauges_and_the_rest_are_added_up() {
    let metrics = Metrics::default();
    let mut gauges = ServiceGauges::new(&metrics);
    let mut services: Vec<_> = (0..SERVICES_MAX).map(|number| service(number, 2)).collect();
    services.extend([service(900, 1), service(901, 1), service(902, 5)]);
    gauges.show(services);
    assert_eq!(value(&metrics, "service-902", "healthy"), Some(5));
    assert_eq!(value(&metrics, "service-000", "healthy"), Some(2));
    assert_eq!(value(&metrics, "service-000", "starting"), Some(0));
    // The last by name of those with two, and those with one.
    assert_eq!(value(&metrics, "service-199", "healthy"), None);
    assert_eq!(value(&metrics, OTHERS, "healthy"), Some(2 + 1 + 1));
    let shown = metrics.render().matches("status=\"healthy\"").count();
    assert_eq!(shown, SERVICES_MAX + 1);
}

#[test]
fn a_service_that_is_gone_has_no_gauge() {
    let metrics = Metrics::default();
    let mut gauges = ServiceGauges::new(&metrics);
    gauges.show(vec![service(1, 1), service(2, 1)]);
    gauges.show(vec![service(2, 3)]);
    assert_eq!(value(&metrics, "service-001", "healthy"), None);
    assert_eq!(value(&metrics, "service-002", "healthy"), Some(3));
    assert_eq!(value(&metrics, OTHERS, "healthy"), None);
}
