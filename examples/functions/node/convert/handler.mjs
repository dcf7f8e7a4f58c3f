// GET /convert?value=10&from=km&to=mi: a handler written for AWS Lambda, unchanged.
//
// `invoke.adapter` in fn.config.json says so: the event is API Gateway's, payload version 2.0.

const METERS = { m: 1, km: 1000, mi: 1609.344, ft: 0.3048 };

export const handler = async (event, context) => {
  const { value = "1", from = "km", to = "mi" } = event.queryStringParameters ?? {};
  if (!(from in METERS && to in METERS && Number.isFinite(Number(value)))) {
    return { statusCode: 400, body: JSON.stringify({ error: `units are ${Object.keys(METERS).join(", ")}` }) };
  }
  return {
    statusCode: 200,
    headers: { "content-type": "application/json", "x-aws-request-id": context.awsRequestId },
    body: JSON.stringify({ value: Number(((value * METERS[from]) / METERS[to]).toFixed(6)), unit: to }),
  };
};
