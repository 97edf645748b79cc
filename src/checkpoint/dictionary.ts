/**
 * What the bytes of nearly every state are full of: how LangChain writes messages, and LangGraph its bookkeeping. Given to
 * the compressor beforehand, a short record pays for what it says and not for how. It is part of the format: what is
 * written with it is read with it, so it never changes; another one takes a codec of its own.
 */
export const DICTIONARY_1: Uint8Array = Buffer.from(
  [
    '{"source":"input","step":-1,"parents":{},"run_id":"","thread_id":"","langgraph_step":0,"langgraph_node":"",',
    '"langgraph_triggers":[],"langgraph_path":["__pregel_pull",""],"langgraph_checkpoint_ns":"","graph_id":"",',
    '"assistant_id":"","user_id":"","created_by":"system","run_attempt":1,"langgraph_version":"","checkpoint_ns":""}',
    '{"w":[[0,"messages",["json",0,"",0]],[1,"branch:to:agent",["json",4,"",4]],[-1,"__error__"],[-3,"__interrupt__"]]',
    ',[-4,"__resume__"],"__pregel_tasks","__pregel_push","__pregel_pull","__no_writes__","__return__","__previous__"}',
    '{"lg_name":"Send","node":"","args":{}},{"lg_name":"Command","update":{},"goto":[],"resume":null}',
    '{"lc":2,"type":"undefined"},{"lc":2,"type":"constructor","id":["Set"],"method":null,"args":[[]],"kwargs":{}}',
    ',"additional_kwargs":{"tool_calls":[{"id":"call_","type":"function","function":{"name":"","arguments":"{}"}}]}',
    ',"usage_metadata":{"input_tokens":0,"output_tokens":0,"total_tokens":0,"input_token_details":{},"output_token_details":{}}',
    ',"content":[{"type":"text","text":""},{"type":"tool_use","id":"toolu_","name":"","input":{}},{"type":"image_url"}]',
    ',"response_metadata":{"model_name":"","stop_reason":"end_turn","finish_reason":"stop","usage":{},"model_provider":""}',
    '{"lc":1,"type":"constructor","id":["langchain_core","documents","Document"],"kwargs":{"pageContent":"","metadata":{}}}',
    '{"lc":1,"type":"constructor","id":["langchain_core","messages","SystemMessage"],"kwargs":{"content":"","type":"system"}}',
    ',{"lc":1,"type":"constructor","id":["langchain_core","messages","ToolMessage"],"kwargs":{"status":"success","content":"',
    '","tool_call_id":"","name":"","artifact":null,"additional_kwargs":{},"response_metadata":{},"id":"","type":"tool"}}',
    ',{"lc":1,"type":"constructor","id":["langchain_core","messages","HumanMessage"],"kwargs":{"content":"',
    '","additional_kwargs":{},"response_metadata":{},"id":"","type":"human"}}',
    ',{"lc":1,"type":"constructor","id":["langchain_core","messages","AIMessageChunk"],"kwargs":{"content":"',
    ',{"lc":1,"type":"constructor","id":["langchain_core","messages","AIMessage"],"kwargs":{"content":"","id":"',
    '","additional_kwargs":{},"response_metadata":{},"tool_calls":[],"invalid_tool_calls":[],"type":"ai"}}]',
    '{"v":4,"ts":"2026-01-01T00:00:00.000Z","cv":{"__start__":1,"messages":1,"branch:to:agent":1},',
    '"vs":{"__input__":{},"__start__":{"__start__":1},"agent":{"branch:to:agent":1},"tools":{"branch:to:tools":1}},',
    '"vi":{"agent":1,"tools":1},"sn":[],"m":["json",0,"",0],"c":[["messages",["json",0,"",[0,0],0,[0,0]]],',
    '["branch:to:agent",["json",4,"",4]]],"g":["__start__"],"s":[["000000000000-",0,0]]}',
    'null{"source":"loop","step":0,"parents":{}}',
  ].join(""),
);
