# What gatepost-milter marked goes into Junk. /etc/dovecot/sieve/spam-to-junk.sieve; compile it with `sievec` after every change.
require ["fileinto", "mailbox"];

if header :is "X-Spam" "Yes" {
    fileinto :create "Junk";
    stop;
}
