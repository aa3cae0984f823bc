//! Block lists that died, or refuse to answer: they must refuse nobody.

use gatepost_postfix_policy::protocol::policy::Request;

use crate::dns::Dns;
use crate::instance::{Instance, Setup, until};

async fn judge(instance: &Instance, client: &str) -> String {
    let text = format!("request=smtpd_access_policy\nprotocol_state=RCPT\nclient_address={client}\n");
    instance.service.judge(0, &Request::parse(text.as_bytes()).unwrap()).await.text()
}

async fn instance(dns: &Dns, lists: &str) -> Instance {
    let settings =
        format!("[postfix-policy.dnsbl]\nlists = {lists}\nthreshold = 1\ndeadline = \"1s\"\n{}", dns.toml());
    Instance::start(&Setup { settings, checks: Some("[\"dnsbl\"]".into()), ..Setup::default() }).await
}

/// A list whose domain was sold lists everybody, 127.0.0.1 too (RFC 5782, 5): from the first trial on it is not believed.
#[tokio::test]
async fn a_list_that_lists_everybody_is_not_believed() {
    let mut zone = "2.0.0.127.sold.test A 127.0.0.2\n1.0.0.127.sold.test A 127.0.0.2\n2.0.0.127.good.test A 127.0.0.2\n255.2.0.192.good.test A 127.0.0.3\n".to_owned();
    for n in 0..=255 {
        zone.push_str(&format!("{n}.2.0.192.sold.test A 127.0.0.2\n"));
    }
    let dns = Dns::serve(&zone);
    let instance = instance(&dns, "[\"sold.test\", \"good.test\"]").await;
    let mut client = 0;
    until("the trial has shown it", async || {
        client += 1;
        assert!(client < 255, "still believed");
        judge(&instance, &format!("192.0.2.{client}")).await == "DUNNO"
    })
    .await;
    assert_eq!(
        judge(&instance, "192.0.2.255").await,
        "554 5.7.1 Client host 192.0.2.255 is listed by good.test",
        "the other list counts as ever"
    );
    instance.stop().await;
}

/// Every list is asked once for a client, whatever its entries and however many recipients there are.
#[tokio::test]
async fn each_list_is_asked_once_for_a_client() {
    let dns = Dns::serve(
        "2.0.0.127.a.test A 127.0.0.2\n2.0.0.127.b.test A 127.0.0.2\n7.2.0.192.a.test A 127.0.0.2",
    );
    let instance = instance(&dns, "[\"a.test=127.0.0.2\", \"a.test=127.0.0.3*2\", \"b.test*-1\"]").await;
    for _ in 0..20 {
        assert_eq!(
            judge(&instance, "192.0.2.7").await,
            "554 5.7.1 Client host 192.0.2.7 is listed by a.test"
        );
    }
    assert_eq!((dns.asked("7.2.0.192.a.test"), dns.asked("7.2.0.192.b.test")), (1, 1));
    instance.stop().await;
}

/// All lists are silent: the client waits for the one deadline, and passes.
#[tokio::test]
async fn silent_lists_refuse_nobody() {
    let dns = Dns::serve("7.2.0.192.a.test A DROP\n7.2.0.192.b.test A DROP\n7.2.0.192.c.test A 127.0.0.2");
    let instance = instance(&dns, "[\"a.test\", \"b.test\", \"c.test=127.0.0.9\"]").await;
    assert_eq!(judge(&instance, "192.0.2.7").await, "DUNNO");
    assert_eq!(instance.metric("requests_total{check=\"dnsbl\",action=\"dunno\"}"), 1);
    instance.stop().await;
}
