// The style of AWS Lambda behind an API Gateway with payload version 2.0: promises, the callback, and the context's own ways.

import { joined, textOf } from "./events.mjs";

const SETTLES_LATER = /\b(?:succeed|fail|done)\b/;

export function lambdaStyle(handler, version) {
  // A plain function that returns nothing has answered with nothing, unless it can still answer in another way.
  const mayCallBack = handler.length >= 3 || SETTLES_LATER.test(Function.prototype.toString.call(handler));
  return (request) => {
    let settle;
    const settled = new Promise((resolve, reject) => {
      settle = (error, value) => (error === null || error === undefined ? resolve(value) : reject(thrown(error)));
    });
    const value = handler(eventOf(request), contextOf(request, version, settle), settle);
    if (typeof value?.then === "function") return Promise.race([value, settled]).then(answered);
    return value === undefined && mayCallBack ? settled.then(answered) : answered(value);
  };
}

function thrown(error) {
  return error instanceof Error ? error : new Error(String(error));
}

function eventOf({ head, body }) {
  const { cookie, ...headers } = head.headers;
  const [text, isBase64] = textOf(body);
  const event = {
    version: "2.0",
    routeKey: `${head.method} ${head.path}`,
    rawPath: head.path,
    rawQueryString: head.raw_path.split("?").slice(1).join("?"),
    headers: mapped(headers, (value) => joined(value, ",")),
    requestContext: {
      accountId: "anonymous",
      apiId: "fnbus",
      domainName: joined(headers.host ?? "", ","),
      http: {
        method: head.method,
        path: head.path,
        protocol: "HTTP/1.1",
        sourceIp: head.client?.ip ?? "",
        userAgent: head.client?.ua ?? "",
      },
      requestId: head.id,
      routeKey: `${head.method} ${head.path}`,
      stage: "$default",
      time: new Date(head.ts).toISOString(),
      timeEpoch: head.ts,
    },
    isBase64Encoded: isBase64,
  };
  if (cookie !== undefined) event.cookies = joined(cookie, "; ").split(/;\s*/).filter(Boolean);
  if (Object.keys(head.query).length > 0) event.queryStringParameters = mapped(head.query, queryText);
  if (Object.keys(head.params).length > 0) event.pathParameters = head.params;
  if (text !== null) event.body = text;
  return event;
}

function mapped(record, of) {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, of(value)]));
}

function queryText(value) {
  return (Array.isArray(value) ? value : [value]).map((each) => (each === true ? "" : String(each))).join(",");
}

function contextOf({ head }, version, settle) {
  const ends = performance.now() + (head.context?.timeout_ms ?? 0);
  return {
    awsRequestId: head.id,
    functionName: version.name,
    functionVersion: version.label,
    invokedFunctionArn: `arn:aws:lambda:local:0:function:${version.name}:${version.label}`,
    memoryLimitInMB: String(version.memoryMb),
    logGroupName: version.name,
    logStreamName: head.id,
    callbackWaitsForEmptyEventLoop: true,
    fastfn: head.context,
    getRemainingTimeInMillis: () => Math.max(0, Math.floor(ends - performance.now())),
    succeed: (value) => settle(null, value),
    fail: (error) => settle(error ?? new Error("failed")),
    done: settle,
  };
}

/** An API Gateway answer in the form that is common to all styles. */
function answered(value) {
  if (typeof value !== "object" || value === null || (value.cookies === undefined && value.multiValueHeaders === undefined)) {
    return value;
  }
  const { cookies, multiValueHeaders, ...answer } = value;
  const headers = { ...answer.headers, ...multiValueHeaders };
  if (cookies !== undefined) headers["set-cookie"] = cookies;
  return { ...answer, headers };
}
