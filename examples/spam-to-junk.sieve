# What gatepost-milter marked goes into Junk. /etc/dovecot/sieve/spam-to-junk.sieve; compile it with `sievec` after every change.
#
# X-Spam marks a message for all of its recipients. One that only some of them want in Junk, or not at all, has a field X-Gatepost-For for
# each of those, such as `X-Gatepost-For: <alice@example.com> junk; score=7.20`. It is read here and taken out, because it names recipients
# that the others may not know of: that needs `editheader`, which the example of dovecot.conf switches on for scripts of the server.
require ["fileinto", "mailbox", "envelope", "subaddress", "variables", "editheader"];

if envelope :user :matches "to" "*" {
    set :lower "user" "${1}";
}
if envelope :domain :matches "to" "*" {
    set :lower "domain" "${1}";
}
if header :contains "X-Gatepost-For" "<${user}@${domain}> discard" {
    discard;
    stop;
}
if anyof (header :is "X-Spam" "Yes", header :contains "X-Gatepost-For" "<${user}@${domain}> junk") {
    deleteheader "X-Gatepost-For";
    fileinto :create "Junk";
    stop;
}
deleteheader "X-Gatepost-For";
