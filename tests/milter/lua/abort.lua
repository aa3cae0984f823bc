-- Aborted in the middle, twice; then a whole message, then a disconnect without goodbye.
conn = mt.connect(socket)
if conn == nil then error "mt.connect() failed" end
mt.macro(conn, SMFIC_CONNECT, "j", "mx.example.com", "{daemon_port}", "25")
if mt.conninfo(conn, "client.test", "192.0.2.1") ~= nil then error "mt.conninfo() failed" end
if mt.helo(conn, "client.test") ~= nil then error "mt.helo() failed" end
for round = 1, 3 do
    if mt.mailfrom(conn, "<sender@client.test>") ~= nil then error "mt.mailfrom() failed" end
    if mt.rcptto(conn, "<alice@example.com>") ~= nil then error "mt.rcptto() failed" end
    if mt.data(conn) ~= nil then error "mt.data() failed" end
    if mt.header(conn, "X-Spam", "Yes") ~= nil then error "mt.header() failed" end
    if round > 1 then
        if mt.eoh(conn) ~= nil then error "mt.eoh() failed" end
        if mt.bodystring(conn, "hello\r\n") ~= nil then error "mt.bodystring() failed" end
    end
    if round < 3 then
        mt.abort(conn)
    else
        if mt.eom(conn) ~= nil then error "mt.eom() failed" end
        if mt.getreply(conn) ~= SMFIR_CONTINUE then error "the message was not taken" end
        if not mt.eom_check(conn, MT_HDRDELETE, "X-Spam") then error "the flag was not deleted" end
    end
end
mt.disconnect(conn, false)
