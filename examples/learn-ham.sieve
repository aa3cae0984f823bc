# Moved out of Junk: wanted, unless it is thrown away. /etc/dovecot/sieve/learn-ham.sieve; compile it with `sievec` after every change.
# gatepost-milter listens on the socket `learn` in `sieve_pipe_socket_dir`, and answers at once.
require ["vnd.dovecot.pipe", "copy", "imapsieve", "environment", "variables"];

if environment :matches "imap.mailbox" ["Trash", "Trash/*", "Deleted Items", "Deleted Messages"] {
  stop;
}
if environment :matches "imap.user" "*" {
  set "user" "${1}";
}
pipe :copy "learn" ["ham", "${user}"];
