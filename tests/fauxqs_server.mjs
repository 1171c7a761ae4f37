// A second SQS, of another hand than moto: fauxqs, on a free port of the loopback. It checks no signatures.
// Run by fauxqs_server.sh: fauxqs_server.mjs LIBRARY. Ends when its standard input does.
const { buildApp } = await import(process.argv[2])

const app = buildApp({ logger: false, defaultRegion: 'eu-west-1' })
console.log(`ready ${new URL(await app.listen({ port: 0, host: '127.0.0.1' })).port}`)
process.stdin.on('end', () => process.exit(0)).resume()
