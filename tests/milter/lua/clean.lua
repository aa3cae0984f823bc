-- A plain message from outside: results are added, foreign flags deleted, the message is taken.
conn = mt.connect(socket)
if conn == nil then error "mt.connect() failed" end
mt.macro(conn, SMFIC_CONNECT, "j", "mx.example.com", "{daemon_port}", "25")
if mt.conninfo(conn, "client.test", "192.0.2.1") ~= nil then error "mt.conninfo() failed" end
if mt.getreply(conn) ~= SMFIR_CONTINUE then error "connect was not continued" end
if mt.helo(conn, "client.test") ~= nil then error "mt.helo() failed" end
if mt.getreply(conn) ~= SMFIR_CONTINUE then error "helo was not continued" end
mt.macro(conn, SMFIC_MAIL, "i", "t-clean")
if mt.mailfrom(conn, "<sender@client.test>") ~= nil then error "mt.mailfrom() failed" end
if mt.getreply(conn) ~= SMFIR_CONTINUE then error "mail was not continued" end
if mt.rcptto(conn, "<alice@example.com>") ~= nil then error "mt.rcptto() failed" end
if mt.getreply(conn) ~= SMFIR_CONTINUE then error "rcpt was not continued" end
if mt.data(conn) ~= nil then error "mt.data() failed" end
if mt.getreply(conn) ~= SMFIR_CONTINUE then error "data was not continued" end
for _, header in ipairs { { "From", "sender@client.test" }, { "To", "alice@example.com" }, { "Subject", "hello" },
        { "Date", "Sat, 21 Nov 2026 09:00:00 +0000" }, { "Message-ID", "<1@client.test>" }, { "X-Spam", "Yes" },
        { "Authentication-Results", "MX.EXAMPLE.COM; spf=pass" } } do
    if mt.header(conn, header[1], header[2]) ~= nil then error("mt.header(" .. header[1] .. ") failed") end
    if mt.getreply(conn) ~= SMFIR_CONTINUE then error "header was not continued" end
end
if mt.eoh(conn) ~= nil then error "mt.eoh() failed" end
if mt.getreply(conn) ~= SMFIR_CONTINUE then error "end of headers was not continued" end
if mt.bodystring(conn, "Dear Alice,\r\n\r\nsee you at ten.\r\n") ~= nil then error "mt.bodystring() failed" end
if mt.getreply(conn) ~= SMFIR_CONTINUE then error "body was not continued" end
if mt.eom(conn) ~= nil then error "mt.eom() failed" end
if mt.getreply(conn) ~= SMFIR_CONTINUE then error "the message was not taken" end
if not mt.eom_check(conn, MT_HDRINSERT, "Authentication-Results") then error "no results were added" end
if not mt.eom_check(conn, MT_HDRDELETE, "X-Spam") then error "a foreign flag was not deleted" end
if not mt.eom_check(conn, MT_HDRDELETE, "Authentication-Results") then error "foreign results were not deleted" end
if mt.eom_check(conn, MT_BODYCHANGE) then error "the body was changed" end
mt.disconnect(conn)
