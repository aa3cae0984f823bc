-- A login: completed, never judged, nothing about spam. (No database here, and configured to go on unsigned.)
conn = mt.connect(socket)
if conn == nil then error "mt.connect() failed" end
mt.macro(conn, SMFIC_CONNECT, "j", "mx.example.com", "{daemon_port}", "587")
if mt.conninfo(conn, "client.test", "192.0.2.1") ~= nil then error "mt.conninfo() failed" end
if mt.helo(conn, "client.test") ~= nil then error "mt.helo() failed" end
mt.macro(conn, SMFIC_MAIL, "{auth_authen}", "alice@example.com", "{auth_type}", "PLAIN", "i", "t-submitted")
if mt.mailfrom(conn, "<alice@example.com>") ~= nil then error "mt.mailfrom() failed" end
if mt.rcptto(conn, "<bob@remote.test>") ~= nil then error "mt.rcptto() failed" end
if mt.data(conn) ~= nil then error "mt.data() failed" end
if mt.header(conn, "From", "alice@example.com") ~= nil then error "mt.header() failed" end
if mt.eoh(conn) ~= nil then error "mt.eoh() failed" end
if mt.bodystring(conn, "hello\r\n") ~= nil then error "mt.bodystring() failed" end
if mt.eom(conn) ~= nil then error "mt.eom() failed" end
if mt.getreply(conn) ~= SMFIR_CONTINUE then error "the message was not taken" end
if not mt.eom_check(conn, MT_HDRADD, "Date") then error "no Date was added" end
if not mt.eom_check(conn, MT_HDRADD, "Message-ID") then error "no Message-ID was added" end
if mt.eom_check(conn, MT_HDRINSERT, "Authentication-Results") then error "our own mail was verified" end
if mt.eom_check(conn, MT_HDRINSERT, "X-Spam") then error "our own mail was marked" end
mt.disconnect(conn)
