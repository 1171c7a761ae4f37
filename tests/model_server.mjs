// A chat model for tests: POST /v1/chat/completions of OpenAI's form, whole and streamed, over a model of 135 million
// parameters. What it says is of no worth; that it says it in the right form is what tests build on:
//   - A call of a tool is written under a grammar made of the tools' schemas, and so is the answer to a response_format.
//   - tool_choice "auto": as long as a tool has no result since the user's last word, the grammar is that of a call of one
//     of these tools; then it is text. So a conversation of n tools has at most n calls, however little the model
//     understands. "required" and a named tool are what they are elsewhere, "none" is text.
//   - No text in such JSON is longer than 60 characters and no list than 4: a small model may never close them.
//   - Greedy, one thread, one request at a time.
// Run by model_server.sh: model_server.mjs LIBRARY WEIGHTS. Ends when its standard input does.
import { createServer } from 'node:http'

const CONTEXT = 2048  // tokens, of question and answer
const [library, weights] = process.argv.slice(2)
const { getLlama, LlamaCompletion } = await import(library)

const llama = await getLlama({ gpu: false, build: 'never', skipDownload: true, maxThreads: 1, logLevel: 'error' })
const model = await llama.loadModel({ modelPath: weights })
const context = await model.createContext({ contextSize: CONTEXT, threads: 1, sequences: 1 })
const sequence = context.getSequence()
const completion = new LlamaCompletion({ contextSequence: sequence })

class Refused extends Error {
  constructor(status, code, message) {
    super(message)
    Object.assign(this, { status, code })
  }
}

const textOf = (content) => typeof content === 'string' ? content : (content ?? []).map((part) => part.text ?? '').join('\n')

// Which tools the answer may call; none: it is text.
function callable({ tools = [], tool_choice: choice = 'auto', messages }) {
  const functions = tools.map((tool) => tool.function)
  if (choice === 'none') return []
  if (choice === 'required') return functions
  if (choice !== 'auto') return functions.filter(({ name }) => name === choice.function.name)
  const recent = messages.slice(messages.findLastIndex(({ role }) => role === 'user') + 1)
  const done = recent.flatMap((message) => message.tool_calls ?? []).map((call) => call.function.name)
  return functions.filter(({ name }) => !done.includes(name))
}

// The schema, as far as the library's grammars go, with bounds.
function bounded(schema) {
  if (schema.enum) return { enum: schema.enum }
  if (schema.const !== undefined) return { const: schema.const }
  if (schema.anyOf ?? schema.oneOf) return { oneOf: (schema.anyOf ?? schema.oneOf).map(bounded) }
  if (schema.type === 'string') return { type: 'string', minLength: 1, maxLength: 60 }
  if (schema.type === 'array') return { type: 'array', items: bounded(schema.items ?? { type: 'string' }), maxItems: 4 }
  if (schema.type !== 'object') return { type: schema.type }
  const properties = Object.entries(schema.properties ?? {}).map(([name, value]) => [name, bounded(value)])
  return { type: 'object', properties: Object.fromEntries(properties) }
}

function schemaOf(request, functions) {
  if (functions.length > 0) {
    return { oneOf: functions.map(({ name, parameters = { type: 'object' } }) =>
      ({ type: 'object', properties: { name: { const: name }, arguments: bounded(parameters) } })) }
  }
  const format = request.response_format
  return format?.type === 'json_schema' ? bounded(format.json_schema.schema) : null
}

function promptOf(messages, functions) {
  const turn = (role, text) => `<|im_start|>${role}\n${text}<|im_end|>\n`
  const turns = messages.map(({ role, content }) => {
    if (role === 'tool') return turn('user', `A tool says: ${textOf(content)}`)
    return textOf(content) ? turn(role, textOf(content)) : ''  // a call, whose form it would only copy
  })
  const tools = functions.map(({ name, description = '' }) => `Tool ${name}: ${description}`)
  if (tools.length > 0) turns.unshift(turn('system', tools.join('\n')))
  return `${turns.join('')}<|im_start|>assistant\n`
}

// `say` is called with the pieces of the answer: deltas, as they are sent.
async function answer(request, say, signal) {
  const functions = callable(request)
  const schema = schemaOf(request, functions)
  const prompt = model.tokenize(promptOf(request.messages, functions), true)
  const left = CONTEXT - prompt.length - 1
  if (left < 1) throw new Refused(400, 'context_length_exceeded', `${prompt.length} tokens, and the context has ${CONTEXT}`)
  const { response, metadata } = await completion.generateCompletionWithMeta(prompt, {
    grammar: schema ? await llama.createGrammarForJsonSchema(schema) : undefined,
    maxTokens: Math.min(left, request.max_completion_tokens ?? request.max_tokens ?? left),
    temperature: 0,
    customStopTriggers: schema ? undefined : [request.stop ?? []].flat(),
    disableContextShift: true,
    onTextChunk: (content) => functions.length > 0 || say({ content }),
    signal,
  })
  let finish = metadata.stopReason === 'maxTokens' ? 'length' : 'stop'
  if (functions.length > 0 && finish === 'stop') {
    finish = 'tool_calls'
    const { name, arguments: parameters } = JSON.parse(response)
    const id = `call_${request.messages.length}`
    say({ tool_calls: [{ index: 0, id, type: 'function', function: { name, arguments: '' } }] })
    for (const piece of JSON.stringify(parameters).match(/.{1,16}/gsu)) {
      say({ tool_calls: [{ index: 0, function: { arguments: piece } }] })
    }
  }
  const [prompt_tokens, completion_tokens] = [prompt.length, model.tokenize(response).length]
  return { finish, usage: { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens } }
}

// One message of all its deltas.
function assembled(deltas) {
  const message = { role: 'assistant', content: deltas.map(({ content = '' }) => content).join('') || null }
  const calls = deltas.flatMap(({ tool_calls = [] }) => tool_calls)
  if (calls.length === 0) return message
  const parameters = calls.map((call) => call.function.arguments).join('')
  const { index, ...call } = calls[0]
  return { ...message, tool_calls: [{ ...call, function: { ...call.function, arguments: parameters } }] }
}

let last = Promise.resolve()  // of the requests, each of which waits for the one before it
let answers = 0

async function serve(incoming, outgoing) {
  const gone = new AbortController()
  outgoing.on('close', () => gone.abort())
  let body = ''
  for await (const piece of incoming.setEncoding('utf8')) body += piece
  if (incoming.method !== 'POST' || incoming.url !== '/v1/chat/completions') throw new Refused(404, 'not_found', incoming.url)
  const request = JSON.parse(body)
  const head = { id: `answer-${++answers}`, created: 0, model: request.model }
  const send = (chunk) => outgoing.write(`data: ${JSON.stringify({ ...head, object: 'chat.completion.chunk', ...chunk })}\n\n`)
  const deltas = []
  const say = (delta) => {
    deltas.push(delta)
    if (!request.stream) return
    if (!outgoing.headersSent) outgoing.writeHead(200, { 'content-type': 'text/event-stream' })
    send({ choices: [{ index: 0, delta }] })
  }
  const turn = last.then(() => answer(request, say, gone.signal))
  last = turn.catch(() => {})
  const { finish, usage } = await turn
  if (request.stream) {
    say({})
    send({ choices: [{ index: 0, delta: {}, finish_reason: finish }] })
    if (request.stream_options?.include_usage) send({ choices: [], usage })
    return outgoing.end('data: [DONE]\n\n')
  }
  outgoing.writeHead(200, { 'content-type': 'application/json' })
  const choices = [{ index: 0, message: assembled(deltas), finish_reason: finish }]
  outgoing.end(JSON.stringify({ ...head, object: 'chat.completion', choices, usage }))
}

const server = createServer((incoming, outgoing) => serve(incoming, outgoing).catch((error) => {
  if (outgoing.headersSent) return outgoing.destroy()
  outgoing.writeHead(error.status ?? 400, { 'content-type': 'application/json' })
  outgoing.end(JSON.stringify({ error: { message: error.message, type: 'invalid_request_error', code: error.code ?? null } }))
}))
server.listen(0, '127.0.0.1', () => console.log(`ready ${server.address().port}`))
process.stdin.on('end', () => process.exit(0)).resume()
