// An independent peer of our clients of models: aimock, on a free port of the loopback. It answers nothing until a test
// has told it what, through its control API (peer_server.h).
// Run by peer_server.sh: peer_server.mjs LIBRARY. Ends when its standard input does.
const { LLMock } = await import(process.argv[2])

// A key, so that what is sent without it is refused.
const peer = new LLMock({ host: '127.0.0.1', port: 0, auth: { apiKeys: ['sk-peer-key'] }, logLevel: 'warn' })
console.log(`ready ${new URL(await peer.start()).port}`)
process.stdin.on('end', () => process.exit(0)).resume()
