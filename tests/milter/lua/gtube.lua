-- The test message of spam filters is refused with a reply of our own; the next message on the connection is taken.
conn = mt.connect(socket)
if conn == nil then error "mt.connect() failed" end
mt.macro(conn, SMFIC_CONNECT, "j", "mx.example.com", "{daemon_port}", "25")
if mt.conninfo(conn, "client.test", "192.0.2.1") ~= nil then error "mt.conninfo() failed" end
if mt.helo(conn, "client.test") ~= nil then error "mt.helo() failed" end
gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*" .. "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"
for round, body in ipairs({ gtube, "hello\r\n" }) do
    if mt.mailfrom(conn, "<sender@client.test>") ~= nil then error "mt.mailfrom() failed" end
    if mt.rcptto(conn, "<alice@example.com>") ~= nil then error "mt.rcptto() failed" end
    if mt.data(conn) ~= nil then error "mt.data() failed" end
    if mt.header(conn, "From", "sender@client.test") ~= nil then error "mt.header() failed" end
    if mt.eoh(conn) ~= nil then error "mt.eoh() failed" end
    if mt.bodystring(conn, body) ~= nil then error "mt.bodystring() failed" end
    if mt.eom(conn) ~= nil then error "mt.eom() failed" end
    if round == 1 then
        if mt.getreply(conn) ~= SMFIR_REPLYCODE then error "the test message was not refused with a reply of its own" end
        mt.abort(conn)
    elseif mt.getreply(conn) ~= SMFIR_CONTINUE then
        error "the second message was not taken"
    end
end
mt.disconnect(conn)
