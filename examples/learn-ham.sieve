# Moved out of Junk: wanted, unless it is thrown away. /etc/dovecot/sieve/learn-ham.sieve; compile it with `sievec` after every change.
# gatepost-milter listens on the socket `learn` in `sieve_pipe_socket_dir`, and answers at once.
require ["vnd.dovecot.pipe", "copy", "imapsieve", "environment", "variables", "special-use"];

# Thrown away: into the folder that the server calls \Trash (`special_use` in dovecot.conf, or a user's own), or one that programs call so.
if environment :matches "imap.mailbox" "*" {
  set "mailbox" "${1}";
}
if anyof (specialuse_exists "${mailbox}" "\\Trash",
    string :matches "${mailbox}" ["Trash", "Trash/*", "Deleted Items", "Deleted Messages"]) {
  stop;
}
if environment :matches "imap.user" "*" {
  set "user" "${1}";
}
pipe :copy "learn" ["ham", "${user}"];
