-- A login with a key: the message is completed, encoded, and signed by both keys; what tells about the sender's device goes.
conn = mt.connect(socket)
if conn == nil then error "mt.connect() failed" end
mt.macro(conn, SMFIC_CONNECT, "j", "mx.example.com", "{daemon_port}", "587")
if mt.conninfo(conn, "client.test", "192.0.2.1") ~= nil then error "mt.conninfo() failed" end
if mt.helo(conn, "client.test") ~= nil then error "mt.helo() failed" end
mt.macro(conn, SMFIC_MAIL, "{auth_authen}", "alice@example.com", "{auth_type}", "PLAIN", "i", "t-signing")
if mt.mailfrom(conn, "<alice@example.com>") ~= nil then error "mt.mailfrom() failed" end
mt.macro(conn, SMFIC_RCPT, "{rcpt_mailer}", "smtp")
if mt.rcptto(conn, "<friend@remote.test>") ~= nil then error "mt.rcptto() failed" end
if mt.data(conn) ~= nil then error "mt.data() failed" end
for _, header in ipairs { { "From", "alice@example.com" }, { "Subject", "hello" }, { "User-Agent", "Mail/1" } } do
    if mt.header(conn, header[1], header[2]) ~= nil then error("mt.header(" .. header[1] .. ") failed") end
end
if mt.eoh(conn) ~= nil then error "mt.eoh() failed" end
if mt.bodystring(conn, "gr\195\188\195\159e\r\n") ~= nil then error "mt.bodystring() failed" end
if mt.eom(conn) ~= nil then error "mt.eom() failed" end
if mt.getreply(conn) ~= SMFIR_CONTINUE then error "the message was not taken" end
if not mt.eom_check(conn, MT_HDRDELETE, "User-Agent") then error "the device was not hidden" end
if not mt.eom_check(conn, MT_HDRADD, "Date") then error "no Date was added" end
if not mt.eom_check(conn, MT_HDRADD, "Content-Transfer-Encoding", " quoted-printable") then error "no encoding was named" end
if not mt.eom_check(conn, MT_BODYCHANGE, "gr=C3=BC=C3=9Fe\r\n") then error "the body was not encoded" end
if not mt.eom_check(conn, MT_HDRINSERT, "DKIM-Signature") then error "no signature was added" end
if not string.find(mt.getheader(conn, "DKIM-Signature", 0), "d=example.com") then error "the signature is another's" end
if not mt.getheader(conn, "DKIM-Signature", 1) then error "one of two keys did not sign" end
mt.disconnect(conn)
