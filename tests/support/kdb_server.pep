// What schemas.q defines, in the language of the server that the tests run: the same names, arguments and answers, in memory only.
// A table cannot be written empty there; queries.q follows, as it is.
trade:0#([]time:1#2000.01.01D00:00:00;sym:1#`a;sequence:1#0;trade_id:1#0;price:1#0;size:1#0;side:1#0);
quote:0#([]time:1#2000.01.01D00:00:00;sym:1#`a;sequence:1#0;bid:1#0;bsize:1#0;ask:1#0;asize:1#0);
orderbook_snapshot:0#([]time:1#2000.01.01D00:00:00;sym:1#`a;sequence:1#0;side:1#0;level:1#0;price:1#0;size:1#0;orders:1#0);
market_depth:0#([]time:1#2000.01.01D00:00:00;sym:1#`a;sequence:1#0;side:1#0;price:1#0;size:1#0;orders:1#0);
instrument:0#([]time:1#2000.01.01D00:00:00;sym:1#`a;instrument_id:1#0;stream:1#`a;name:1#`a;currency:1#`a;tick_size:1#`a;lot_size:1#`a;tick_value:1#0);
progress:0#([]time:1#2000.01.01D00:00:00;sym:1#`a;sequence:1#0);
.u.upd:{[t;x] upsert[t;x]};
.te.rows:{[t;s;r;n] select from (get t) where sym=s, time within r, sequence>n};
.te.before:{[t;s;r;n] m:select time,sequence from (get t) where sym=s, time within r, sequence<=n; select from m where i=max i};
.te.last:{[t] select max sequence by sym from (get t)};
.te.bucket:{[w;t] w xbar t};
.te.plain:{[t] t};
